"""The whole project at a tiny scale, in a folder and repository of its own; for tests of several packages."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
TINY: dict[str, dict[str, Any]] = {
    "data": {"train_images": 24, "val_images": 8, "test_images": 8, "imgsz": 64, "workers": 1},
    "train": {"batch": 8, "precision": "fp32", "device": "cpu", "threads": 1, "val_every": 1},
    "baseline": {"epochs": 1},
    "sparse": {"penalty": "slimming", "epochs": 1},
    "finetune": {"epochs": 1, "teacher": "models/sparse", "distill_output": 0.5, "distill_feature": 0.2},
    "prune": {
        "importance": "gamma",
        "recalibrate_images": 24,
        "certificate_images": 2,
    },  # on 8, logits of 1000 hide the export in rounding
    "ascend_eval": {"warmup": 1, "repeats": 3},
    "export": {"formats": ["openvino", "ncnn"]},
    "quantize": {"models": [40], "runtimes": ["onnxruntime", "ncnn"], "images": 4},
    "evaluation": {"threads": 1},
    "report": {"images": 1},
}


class Project:
    """A copy of the project in a folder and repository of its own."""

    def __init__(self, root: Path, changes: dict[str, Any] | None = None) -> None:
        self.root = root
        paths = [str(Path(sys.executable).parent), *os.environ.get("PATH", "").split(os.pathsep)]
        self.environment = os.environ | {
            "PATH": os.pathsep.join(paths),
            "PYTHONPATH": str(root / "src"),
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
        }
        for name in ("src/yoloslim", "pipeline", "flows"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, root / name)
        params = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"imgsz": 64, "percents": [40]}
        self.write_params(TINY, params)
        self.write_params(changes or {})
        self.run("git", "init", "--quiet")
        for name, value in (("user.name", "tests"), ("user.email", "tests@example.org"), ("commit.gpgsign", "false")):
            self.run("git", "config", name, value)
        self.run("dvc", "init", "--quiet")

    def write_params(self, changes: dict[str, Any], params: dict[str, Any] | None = None) -> None:
        path = self.root / "params.yaml"
        params = params or yaml.safe_load(path.read_text())
        for name, change in changes.items():
            params[name] = params[name] | change if isinstance(params[name], dict) else change
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def attempt(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.root, env=self.environment, check=False, capture_output=True, text=True, timeout=3600
        )

    def run(self, *command: str) -> str:
        done = self.attempt(*command)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def repro(self) -> set[str]:
        """Reproduce; the stages that ran, besides the one that always does."""
        lines = self.run("dvc", "repro").splitlines()
        return {line.split("'")[1] for line in lines if line.startswith("Running stage")} - {"code"}

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "results")

    def json(self, name: str) -> Any:
        return json.loads((self.root / name).read_text())
