"""Stage `champion`: the models in a few numbers that fit a terminal, and the one to ship, as an artifact of DVC."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yoloslim.config import Params
from yoloslim.files import atomic_folder, write_json
from yoloslim.report.tables import recommendation
from yoloslim.results.choice import dense_of
from yoloslim.results.records import Row
from yoloslim.results.results import Results, read_results
from yoloslim.results.sweep_file import chosen_point
from yoloslim.stages.common import MODELS, stage

logger = logging.getLogger("yoloslim")

SUMMARY, CHAMPION = Path("summary"), MODELS / "champion"
SHOWN = {"map50": 4, "map50_95": 4, "params_m": 3, "latency_ms": 3, "speedup": 3}
"""What `dvc metrics show` compares, and the digits kept: of the deployed model where there is one, PyTorch's else."""


def write_summary(rows: Sequence[Row], out: Path = SUMMARY) -> None:
    """Write `<model>.json` for every model that could be shipped, its int8 versions included.

    Args:
        rows: one a model.
        out: folder, replaced as a whole.
    """
    shippable = [row for row in rows if row.kind in ("baseline", "control", "pruned")]
    with atomic_folder(out) as folder:
        for row in (each for model in shippable for each in model.with_int8()):
            numbers = {key: row.best(key) for key in SHOWN}
            found = {key: round(value, SHOWN[key]) for key, value in numbers.items() if value is not None}
            write_json(folder / f"{row.name.removeprefix('prune@').replace(' ', '-')}.json", found)


def write_champion(results: Results, out: Path = CHAMPION) -> None:
    """Write the exported graph with its manifest, the weights, and `champion.json`, which says why it is this model.

    It is the sweep's choice, else the recommended model, else, where nothing is pruned, the dense one. The files of a
    sweep's winner that is of a variant lie elsewhere: then `champion.json` is alone, and says what brings them.

    Args:
        results: what there is to choose from.
        out: folder, replaced as a whole.
    """
    row = results.best if results.sweep else results.best or dense_of(results.rows)
    found: dict[str, Any] = {"model": row.name, "percent": row.percent} if row else {}
    with atomic_folder(out) as folder:
        if row is None:
            found["why"] = _elsewhere(results)
            logger.warning("models/champion holds no model: %s", found["why"])
        else:
            found["why"] = recommendation(row, results.rows) if row.kind == "pruned" else "nothing has been pruned"
            if row.onnx:
                shutil.copytree(row.onnx.parent, folder, dirs_exist_ok=True)
            if row.model:
                shutil.copyfile(row.model, folder / "model.safetensors")
        write_json(folder / "champion.json", found)


def _elsewhere(results: Results) -> str:
    point = chosen_point(results.sweep) if results.sweep else None
    if point is None:
        return "no model has been measured"
    variant = point.name.rpartition("/")[0]
    return (
        f"the sweep's winner is of variant {variant}; `yoloslim sweep --apply {variant}`, then `dvc repro`, brings it"
    )


def run(params: Params) -> None:
    """Write summary/ and models/champion."""
    results = read_results(Path(), params.model_dump(mode="json"))
    write_summary(results.rows)
    write_champion(results)


def main() -> None:
    """Run the stage."""
    stage(run)
