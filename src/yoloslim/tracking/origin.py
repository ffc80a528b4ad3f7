"""What MLflow shows of where a run comes from: description, user, and the script that made it."""

import getpass
from collections.abc import Sequence

from yoloslim.results.records import Row

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as a description."""
MADE_BY = {
    "baseline": "pipeline/baseline.py",
    "control": "pipeline/control.py",
    "sparse": "pipeline/sparse.py",
    "pruned": "pipeline/finetune.py",
    "unstructured": "pipeline/unstructured.py",
    "sweep": "flows/sweep.py",
}
"""Kind of a run -> script."""
DESCRIBED = {
    "baseline": "The dense model, as it was before sparse training, pruning and finetuning.",
    "control": "The dense model, trained for as many epochs as a pruned one: what those are fairly compared with.",
    "sparse": "The baseline after sparse training; the pruned models are cut out of this one.",
    "unstructured": "The baseline with single weights set to zero, for comparison: no smaller, no faster.",
}


def origin_tags(script: str) -> dict[str, str]:
    """User and source, where MLflow looks for them."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return {"mlflow.user": user, "mlflow.source.name": script, "mlflow.source.type": "PROJECT"}


def described(row: Row, rows: Sequence[Row]) -> str:
    """A row in a sentence."""
    from yoloslim.report.tables import recommendation  # rich takes a moment

    return DESCRIBED.get(row.kind) or recommendation(row, rows)
