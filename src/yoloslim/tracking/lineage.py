"""Where results come from: DVC's hashes of what every stage made, and the commit."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from yoloslim.errors import TrackingError

COMMIT = "mlflow.source.git.commit"
"""The tag that MLflow shows as a run's version."""
SHARED = ("data", "baseline", "sparse")
OF_PERCENT = ("probe", "prune", "finetune", "export", "atc", "ascend_eval")
OF_BASELINE = ("export", "atc", "ascend_eval")


def dvc_hashes(root: Path) -> dict[str, str]:
    """DVC's hash of what each stage in dvc.lock made (its model or data, else its metrics); empty without a lock.

    Raises:
        TrackingError: dvc.lock is not what DVC writes.
    """
    path = root / "dvc.lock"
    if not path.is_file():
        return {}
    try:
        stages = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("stages", {})
        return {name: _hash(stage.get("outs", ())) for name, stage in stages.items() if stage.get("outs")}
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError, KeyError) as error:
        raise TrackingError(f"{path} is not what DVC writes ({error}); `dvc repro` says what to do") from error


def lineage_tags(hashes: Mapping[str, str], percent: int | None = None) -> dict[str, str]:
    """Tags `dvc.<stage>` with the hashes that a row was made from.

    Args:
        hashes: see `dvc_hashes`.
        percent: of a pruned model; None is the baseline's row.
    """
    own = {s: f"{s}_baseline" for s in OF_BASELINE} if percent is None else {s: f"{s}@{percent}" for s in OF_PERCENT}
    names = dict(zip(SHARED, SHARED, strict=True)) | own
    return {f"dvc.{stage}": hashes[name] for stage, name in names.items() if name in hashes}


def commit_of(root: Path) -> str:
    """The commit that is checked out; empty outside Git."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def data_set(hashes: Mapping[str, str], params: Mapping[str, Any]) -> Any | None:
    """The data as MLflow's data set, whose digest is DVC's hash of data/voc; None before stage `data` has run."""
    if "data" not in hashes:
        return None
    from mlflow.entities import Dataset, DatasetInput, InputTag  # slow, and only needed when something changed

    source = json.dumps({"path": "data/voc", "md5": hashes["data"]})
    name = str(params.get("data", {}).get("source", "data"))
    return DatasetInput(Dataset(name, hashes["data"], "dvc", source), [InputTag("mlflow.data.context", "training")])


def _hash(outs: Any) -> str:
    made = [out for out in outs if not out["path"].startswith(("metrics/", "plots/"))]
    out = (made or outs)[0]
    return str(out.get("md5") or out[out["hash"]])
