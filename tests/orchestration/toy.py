"""A stand-in pipeline for tests of sweeps: DVC's real graph of stages, and made-up curves instead of networks.

Stages, dependencies and outputs are those of dvc.yaml; only the commands are others, which take milliseconds.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
OWN = ("data/", "models/", "metrics", "plots")
STAGE = """
import json, os, re, sys, time
stage, item = sys.argv[1:3]
text = open("params.yaml").read()
scope = re.search("scope: (\\\\w+)", text)[1]
if stage != "code":  # which always runs
    open("ran.log", "a").write(f"{stage}@{item}\\n")
for name, seconds in json.load(open("slow.json")).items() if os.path.exists("slow.json") else ():
    if name == f"{stage}@{item}":
        time.sleep(seconds)
percent = int(item) if item.isdecimal() else 0
knee = 62 if scope == "coupled" else 41
share = (1 - 0.95 * percent / 100) * (1 if scope == "coupled" else 1.1)
numbers = {"params_m": 1.8 * share, "latency_ms": 4 * share, "fps": 250 / share, "size_mb": 7.2 * share,
           "gflops": 0.04 * share, "backend": "toy"}
before = 0.69 - 0.001 * percent if percent <= 48 else 0.05
after = 0.7 - 0.0001 * percent - 0.006 * max(0, percent - knee)
for path in sys.argv[3:]:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    if path.endswith(".json"):
        map50 = before if re.search("probe|prune|sparse", path) else after
        json.dump({"map50": map50, **numbers}, open(path, "w"))
    elif path.endswith(".csv"):
        open(path, "w").write("epoch,map50\\n1,0.5\\n")
    else:
        os.makedirs(path, exist_ok=True)
        open(path + "/out.txt", "w").write(f"{stage} {item} {scope} {numbers}")
        if path == "report":
            open(path + "/index.html", "w").write("<html>the page</html>")
"""


def toy_pipeline() -> dict[str, Any]:
    """dvc.yaml with other commands."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        body = stage.get("do", stage)
        outs = [
            next(iter(out)) if isinstance(out, dict) else out
            for key in ("outs", "metrics", "plots")
            for out in body.get(key, ())
        ]
        item = "${item}" if "do" in stage else "-"
        body["cmd"] = f"python -S stage.py {name} {item} {' '.join(outs)}"
        body["deps"] = [dep for dep in body.get("deps", ()) if dep.startswith(OWN)] + ["stage.py"]
    return {"stages": stages}


def add_parts(root: Path) -> None:
    """Add what a clone has besides: the Makefile with an environment that is ready, and the project's own code."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    for name in ("flows", "pipeline", "prefect.yaml"):
        if not (root / name).exists():
            (root / name).symlink_to(ROOT / name)
    (root / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if not path.name.startswith(".ready"):
            (root / ".venv" / path.name).symlink_to(path)
    for name in (".ready", ".ready-prefect", ".ready-dev"):
        (root / ".venv" / name).touch()


class Toy:
    """A repository of its own with the stand-in pipeline."""

    def __init__(self, root: Path, **sweep: Any) -> None:
        self.root = root
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        params["percents"], params["tracking"]["enabled"] = [], False
        params["sweep"] |= {"low": 60, "high": 70, "step": 5, "coarse": 10, "retries": 1} | sweep
        (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        (root / "dvc.yaml").write_text(yaml.safe_dump(toy_pipeline(), sort_keys=False))
        (root / "stage.py").write_text(STAGE)
        for name in (".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, root / name)
        with (root / ".gitignore").open("a") as stream:
            stream.write("ran.log\nslow.json\n")
        self.environment = os.environ | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            "DVC_NO_ANALYTICS": "1",
        }
        self.run("git", "init", "--quiet")
        for name, value in (("user.name", "tests"), ("user.email", "tests@example.org"), ("commit.gpgsign", "false")):
            self.run("git", "config", name, value)
        self.run("dvc", "init", "--quiet")
        self.commit("start")

    def as_checkout(self) -> None:
        """See `add_parts`; commits them."""
        add_parts(self.root)
        self.commit("a checkout")

    def type(self, line: str) -> str:
        """Run a line in a shell, as a person types it."""
        return self.run("bash", "-c", line)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, check=False, capture_output=True, text=True, timeout=3600
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def write(self, name: str, value: Any) -> None:
        (self.root / name).write_text(json.dumps(value))

    def json(self, name: str) -> Any:
        return json.loads((self.root / name).read_text())

    def repro(self) -> list[str]:
        """Reproduce; the stages that ran or were restored, besides the one that always runs."""
        lines = self.run("dvc", "repro").splitlines()
        done = [line.split("'")[1] for line in lines if line.startswith("Running stage") or "is cached" in line]
        return [name for name in done if name != "code"]

    @property
    def ran(self) -> list[str]:
        """Stages that really ran, in order."""
        log = self.root / "ran.log"
        return log.read_text().splitlines() if log.is_file() else []
