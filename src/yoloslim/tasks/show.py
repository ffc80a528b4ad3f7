"""The commands `models`, `preset` and `features`: what there is to choose from, and where a model looks."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from yoloslim.runner.headers import MEGAPIXELS, limit_megapixels
from yoloslim.tasks.commands import MaxMegapixels
from yoloslim.tasks.foreign_weights import Model

logger = logging.getLogger(__name__)


def models(
    classes: Annotated[int, typer.Option(min=1, help="classes that the heads tell apart")] = 80,
) -> None:
    """List what `model:` in params.yaml can be: size, cost, layers, what can be pruned, where it comes from."""
    from functools import partial

    from rich.console import Console
    from rich.table import Table
    from tqdm import tqdm

    from yoloslim.pruning.catalogue import IMGSZ, all_facts

    table = Table(
        title=f"{classes} classes, GFLOPs at {IMGSZ} px",
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1),
    )
    table.add_column("model", no_wrap=True)
    for name in ("params", "GFLOPs", "layers", "heads", "prunable", "units"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("source", min_width=16)
    for e in all_facts(classes, partial(tqdm, desc="looked at", leave=False, disable=None)):
        counts = (str(e.convolutions), str(len(e.strides)), f"{100 * e.prunable:.0f} %", str(e.units))
        table.add_row(e.name, f"{e.params_m:.2f} M", f"{e.gflops:.1f}", *counts, e.source)
    console = Console()
    console.print(table)
    console.print(
        "layers: convolutions. prunable: share of the channels that no sum ties (scope free); scope coupled may remove "
        "tied ones too. units: residual units that can go whole."
    )


def preset(
    name: Annotated[str, typer.Argument(help="which; none lists them")] = "",
    params: Annotated[Path, typer.Option(help="the file to change")] = Path("params.yaml"),
    dry_run: Annotated[bool, typer.Option(help="only show what would change")] = False,
) -> None:
    """Write a published training recipe into params.yaml; comments and all other values stay."""
    from rich.console import Console
    from rich.table import Table

    from yoloslim.config.presets import apply_preset, load_preset, load_presets

    console = Console()
    if not name:
        table = Table("preset", "for", box=None, pad_edge=False)
        for each in load_presets().values():
            table.add_row(each.name, each.about)
        console.print(table)
        return
    changes = apply_preset(params, load_preset(name), write=not dry_run)
    table = Table("value", "before", "after", box=None, pad_edge=False)
    for key, (before, after) in changes.items():
        table.add_row(key, str(before), str(after))
    console.print(table if changes else f"{params} holds the values of {name} already")
    if changes:
        typer.echo(f"{params}: {'would change' if dry_run else 'changed'} {len(changes)} values")


def features(
    model: Model,
    image: Annotated[list[Path], typer.Argument(help="JPEG or PNG files")],
    max_megapixels: MaxMegapixels = MEGAPIXELS,
    out: Annotated[Path, typer.Option(help="the picture")] = Path("features.png"),
) -> None:
    """Draw where a model looks: the strength of its features over images, as heat maps."""
    limit_megapixels(max_megapixels)
    from yoloslim.data.images import read_image
    from yoloslim.files import spare_inputs
    from yoloslim.models.foreign.load import read_model
    from yoloslim.report.features import features as draw
    from yoloslim.runner.damage import told

    spare_inputs(out, model, *image)
    network = read_model(model)
    with told(logger.warning):
        pictures = [read_image(path) for path in image]
    draw([(network.spec.name, network)], pictures, out)
    typer.echo(f"{out}: {len(image)} image{'s' * (len(image) > 1)}, a line each")
