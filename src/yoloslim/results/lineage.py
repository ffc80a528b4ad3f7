"""Where results come from: DVC's hashes of what every stage made, and the commit."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from yoloslim.errors import TrackingError

COMMIT = "mlflow.source.git.commit"
"""The tag that MLflow shows as a run's version."""
SHARED = ("data", "baseline", "sparse")
OF_PERCENT = ("probe", "prune", "finetune", "export", "atc", "ascend_eval")
OF_BASELINE = ("export", "atc", "ascend_eval")


@dataclass(frozen=True)
class StageOutput:
    """What a stage wrote, and the hash that DVC keeps it under."""

    stage: str
    path: str
    md5: str


def outputs(lock: Path) -> list[StageOutput]:
    """Every output in dvc.lock; empty where there is none yet.

    Raises:
        TrackingError: the file is not what DVC writes.
    """
    if not lock.is_file():
        return []
    try:
        stages = yaml.load(lock.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)["stages"]
        return [
            StageOutput(name, str(out["path"]), str(out.get("md5", "")))
            for name, stage in stages.items()
            for out in stage.get("outs", ())
        ]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise TrackingError(
            f"{lock} is not what DVC writes ({error}); `git checkout {lock.name}` brings it back"
        ) from error


def hashes_of(found: Sequence[StageOutput]) -> dict[str, str]:
    """DVC's hash of what each stage made: its model or data, else its metrics."""
    numbers = {out.stage: out.md5 for out in reversed(found) if out.path.startswith(("metrics/", "plots/"))}
    return numbers | {out.stage: out.md5 for out in reversed(found) if out.path.startswith(("data/", "models/"))}


def lineage_tags(hashes: Mapping[str, str], percent: int | None = None) -> dict[str, str]:
    """Tags `dvc.<stage>` with the hashes that a row was made from.

    Args:
        hashes: see `hashes_of`.
        percent: of a pruned model; None is the baseline's row.
    """
    own = {s: f"{s}_baseline" for s in OF_BASELINE} if percent is None else {s: f"{s}@{percent}" for s in OF_PERCENT}
    names = dict(zip(SHARED, SHARED, strict=True)) | own
    return {f"dvc.{stage}": hashes[name] for stage, name in names.items() if name in hashes}


def commit_of(root: Path) -> str:
    """The commit that is checked out; empty outside Git."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(
            command, cwd=root, capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
