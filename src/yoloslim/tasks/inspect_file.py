"""Task `inspect`: what is in a model file, and how far it can be pruned, as tables on the terminal."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from yoloslim.models.foreign.load import read_model
from yoloslim.pruning.forecast import ENOUGH_PERCENT
from yoloslim.pruning.inspection import inspect_model


def inspect_file(path: Path, layers: bool = False) -> None:
    """Print size, prunable channels by scope, and with `layers` the BatchNorm scales of every layer.

    Raises:
        ModelError: no model file, nor one to import.
    """
    network = read_model(path)
    found = inspect_model(network, network.spec.imgsz)
    console, totals = Console(), found["totals"]
    console.print(
        f"{network.spec.name}: {network.spec.nc} classes, {network.spec.imgsz} px, "
        f"{totals['params_m']:.3f} M parameters, "
        f"{totals['gflops']:.2f} GFLOPs ({totals['gflops_padded']:.2f} padded to 16 channels)"
    )
    scopes = Table("scope", "prunable channels", "every layer keeps one up to", "verdict", title_justify="left")
    for name, scope in found["scopes"].items():
        limit = f"{scope['percent_limit']:.1f} %" if "percent_limit" in scope else "–"
        scopes.add_row(name, str(scope["channels"]), limit, scope["verdict"])
    console.print(scopes)
    channels, near_zero = (sum(row[key] for row in found["layers"]) for key in ("channels", "near_zero"))
    if 100 * near_zero < ENOUGH_PERCENT * channels:
        console.print(
            "The scales tell of nothing that is not in use, as those of most networks. The pipeline asks its images "
            "instead (prune.importance: taylor) and finetunes: baseline.weights takes this model. Network Slimming "
            "(sparse.penalty: slimming) drives scales to zero first."
        )
    if layers:
        table = Table(box=None, pad_edge=False)
        table.add_column("layer", overflow="fold")  # 80 columns are enough for the names of real networks
        for name in ("channels", "near zero", "|gamma| 5 %", "median", "95 %", "tied"):
            table.add_column(name, justify="right")
        for row in found["layers"]:
            quantiles = [f"{row[f'gamma_p{q}']:.4f}" for q in ("05", "50", "95")]
            tied = "yes" if row["tied"] else ""
            table.add_row(row["path"], str(row["channels"]), str(row["near_zero"]), *quantiles, tied)
        console.print(table)
