"""Where a model came from: its hashes in dvc.lock, and the commands that make it again."""

from collections.abc import Sequence

from yoloslim.commands import ACTIVATE, to_type
from yoloslim.results.lineage import StageOutput
from yoloslim.results.records import Row

STAGES = ("prune", "finetune", "export", "atc", "ascend_eval")
"""Stages of one percent."""


def outputs_of(row: Row, found: Sequence[StageOutput]) -> list[StageOutput]:
    """Those of the stages that made this row, the data first."""
    if row.kind == "pruned":
        names = {f"{stage}@{row.percent}" for stage in STAGES}
    else:
        names = {row.kind, *(f"{stage}_{row.kind}" for stage in STAGES)}
    return [out for out in found if out.stage in {"data", *names} and out.path.startswith(("data", "models"))]


def commands(best: Row | None, variant: str = "") -> list[tuple[str, str]]:
    """What to type to get the model again, and to use it: explanation and command.

    Args:
        best: the winner, if its files are here.
        variant: name of the winner of a sweep whose files lie elsewhere; empty for none.
    """
    install = to_type("setup")
    lines = [("Install what is pinned", install)]
    if install.startswith("make"):
        lines.append(("Bring it to the commands of a terminal", ACTIVATE))
    if best is None and variant:
        lines.append(("Give this checkout the winner's parameters and hashes", f"yoloslim sweep --apply '{variant}'"))
        return [*lines, ("Restore its files from DVC's cache, and this page", to_type("repro"))]
    if best is None:
        return [*lines, ("Make everything", to_type("repro"))]
    stages = " ".join(f"{stage}@{best.percent}" for stage in STAGES)
    lines += [
        ("Fetch the results, where a DVC remote is set up", "dvc pull"),
        (
            "Make the winner again from the data on; what is in DVC's cache is restored instead of run",
            f"dvc repro {stages}",
        ),
        ("Or all models and this page", to_type("repro")),
    ]
    shown = best.onnx or best.model
    if shown:
        path = (
            f"models/export/{best.percent}/{shown.name}"
            if best.onnx
            else f"models/finetune/{best.percent}/{shown.name}"
        )
        lines.append(("Use it: boxes on your own images", f"yoloslim detect {path} photo.jpg"))
    return lines
