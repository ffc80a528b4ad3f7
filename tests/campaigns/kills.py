"""Kills over whole pipelines from nothing: `python -m tests.campaigns.kills FOLDER [--kills 100]`.

The pipeline is the whole one at a tiny size, with the sync with MLflow at its end: what `make repro` does. Printed are,
all 0 if nothing broke:
lost        stages that DVC had recorded as done before a kill and that ran again after it
unequal     models and graphs whose bytes differ from the undisturbed run's
incomplete  pipelines of which MLflow has not all runs at the end
manual      restarts that failed by themselves, so that a person would have had to do something
"""

import contextlib
import hashlib
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.campaigns.campaign import Campaign, main
from tests.project import Project

CHANGES: dict[str, Any] = {
    "baseline": {"epochs": 2},
    "sparse": {"epochs": 2},
    "finetune": {"epochs": 2, "teacher": "models/sparse", "distill_output": 0.5, "distill_feature": 0.2},
    "export": {"formats": []},
    "quantize": {"models": [40], "runtimes": ["onnxruntime"], "images": 4},
}
MODELS = ("*.safetensors", "*.onnx")


class Pipelines(Campaign):
    """Whole pipelines, from data to report and MLflow."""

    commands = (["dvc", "repro"], ["python", "-m", "pipeline.track"])

    def build(self, project: Path) -> None:
        """See `Campaign.build`."""
        Project(project, CHANGES)

    def prepare(self, project: Path) -> None:
        """As `make repro` does."""
        command = [sys.executable, "-m", "yoloslim.orchestration.mending"]
        subprocess.run(command, cwd=project, env=self.environment(project), check=True)

    def results(self, project: Path) -> dict[str, str]:
        """SHA-256 of every model and graph."""
        files = sorted(path for pattern in MODELS for path in (project / "models").rglob(pattern))
        return {str(path.relative_to(project)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def complete(self, project: Path) -> bool:
        """Whether MLflow has the baseline's and the percent's run, and both are finished."""
        try:
            with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as store:
                rows = store.execute("select status from runs where lifecycle_stage = 'active'").fetchall()
        except sqlite3.Error:
            return False
        return len(rows) >= 2 and all(status == "FINISHED" for (status,) in rows)

    def ran(self, project: Path, output: str) -> set[str]:
        """Stages that DVC says it ran."""
        return set(re.findall(r"Running stage '([^']+)'", output)) - {"code"}  # which is due every time


if __name__ == "__main__":
    main(Pipelines, 100, 12, __doc__)
