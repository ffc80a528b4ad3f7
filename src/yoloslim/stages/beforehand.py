"""What is known to be wrong with params.yaml, or odd, before the first stage has run."""

from pathlib import Path

from yoloslim.config import Params
from yoloslim.stages.teachers import is_given, missing_teacher, teacher_file, unfit


def named_in_vain(params: Params) -> str:
    """A file that params name, and that a late stage would miss, or could not use, after hours of training.

    Raises:
        YoloslimError: a file that is not what it should be.
    """
    f, table = params.finetune, params.prune.latency_table
    file = teacher_file(params)
    if is_given(file) and not _is_there(f.teacher, file):
        return missing_teacher(params)
    if table and not _is_there(table, Path(table)):
        return f"prune.latency_table: {table} is missing; without it one is measured here and kept"
    said = unfit(params)
    return f"finetune.teacher {f.teacher}: {said}" if said else ""


def alike(params: Params) -> str:
    """A word on percents that a target makes alike; empty where they differ."""
    if not params.prune.targets or len(params.percents) < 2:
        return ""
    return (
        f"prune.{params.prune.targets[0]} says what goes, so all {len(params.percents)} of percents "
        f"{list(params.percents)} are cut to the same size: one is enough, such as percents: [{params.percents[0]}]"
    )


def _is_there(name: str, file: Path) -> bool:
    """Whether what is named, a file or a folder with it, is here, or DVC knows where to get it."""
    return file.is_file() or Path(f"{name}.dvc").exists()
