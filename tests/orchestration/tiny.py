"""A tiny DVC project with the stages that a sweep runs; each takes moments and writes numbers that a model might have.

Every start and end of a stage is written to a log outside, with the checkout that it ran in.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAGE = """
import json, os, sys, time
from pathlib import Path

name, item = sys.argv[1:3]
with open(os.environ["STAGE_LOG"], "a") as log:
    log.write(f"start {name}@{item} {Path.cwd()}\\n")
time.sleep(float(os.environ.get("STAGE_SECONDS", "0")))
percent = int(item) if item.isdecimal() else 0
map50 = {"probe": 0.8 if percent <= 50 else 0.1}.get(name, 0.8 if percent <= 60 else 0.5)
left = 1 - percent / 100
numbers = {"map50": map50, "map50_95": map50 / 2, "map50_voc07": map50, "precision": map50, "recall": map50}
numbers |= {"params_m": 2 * left, "gflops": 4 * left, "size_mb": 8 * left, "latency_ms": 5 + 5 * left}
numbers |= {"latency_p90_ms": 6 + 5 * left, "fps": 1000 / (5 + 5 * left), "backend": "made-up"}
for path in map(Path, sys.argv[3:]):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(numbers) if path.suffix == ".json" else f"{name} {item}")
with open(os.environ["STAGE_LOG"], "a") as log:
    log.write(f"end {name}@{item} {Path.cwd()}\\n")
"""
STAGES = {
    "code": ((), ("code/all",)),
    "data": ((), ("data/voc", "metrics/data.json")),
    "baseline": (("data/voc",), ("models/baseline",)),
    "sparse": (("models/baseline",), ("models/sparse",)),
    "ranking": (("models/sparse",), ("metrics/ranking.json",)),
    "measure_baseline": (("models/baseline", "models/sparse"), ("metrics/baseline.json", "metrics/sparse.json")),
    "export_baseline": (("models/baseline",), ("models/export/baseline", "metrics/export/baseline.json")),
    "atc_baseline": (("models/export/baseline",), ("models/atc/baseline",)),
    "ascend_eval_baseline": (("models/atc/baseline",), ("metrics/ascend_eval/baseline.json",)),
}
"""Stage -> what it reads, what it writes."""
POINTS = {
    "probe": (("models/sparse", "metrics/ranking.json"), ("metrics/probe/{}.json",)),
    "prune": (("models/sparse", "metrics/ranking.json"), ("models/prune/{}",)),
    "finetune": (("models/prune/{}",), ("models/finetune/{}",)),
    "measure": (("models/prune/{}", "models/finetune/{}"), ("metrics/prune/{}.json", "metrics/finetune/{}.json")),
    "export": (("models/finetune/{}",), ("models/export/{}", "metrics/export/{}.json")),
    "atc": (("models/export/{}",), ("models/atc/{}",)),
    "ascend_eval": (("models/atc/{}",), ("metrics/ascend_eval/{}.json",)),
}
"""Likewise, for each percent."""


WITHOUT_CONTROL = "controls: []\nfinetune: {teacher: models/baseline, distill_output: 0}\n"


def project(root: Path, params: str = "percents: []\nprobes: []\n") -> Path:
    """Make it, with its own repository and cache."""
    root.mkdir(parents=True)
    lines = ["stages:"]
    for name, (reads, writes) in STAGES.items():
        stage = name.removesuffix("_baseline")
        lines += [f"  {name}:", *("    " + line for line in _stage(stage, "baseline", reads, writes))]
    for name, (reads, writes) in POINTS.items():
        item = "${item}"
        here = [text.format(item) for text in reads], [text.format(item) for text in writes]
        lines += [f"  {name}:", f"    foreach: ${{{'probes' if name == 'probe' else 'percents'}}}", "    do:"]
        lines += ["      " + line for line in _stage(name, item, *here)]
    (root / "dvc.yaml").write_text("\n".join(lines) + "\n")
    (root / "params.yaml").write_text(params + WITHOUT_CONTROL)
    (root / "stage.py").write_text(STAGE)
    (root / ".gitignore").write_text("/data/\n/models/\n/.cache/\nmlflow.db\nmlartifacts/\n.prefect/\n")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"], ["git", "add", "-A"]):
        subprocess.run(command, cwd=root, check=True)
    author = ["-c", "user.name=tests", "-c", "user.email=tests@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *author, "commit", "-q", "-m", "tiny"], cwd=root, check=True)
    return root


def _stage(name: str, item: str, reads: Sequence[str], writes: Sequence[str]) -> list[str]:
    lines = [f"cmd: python stage.py {' '.join((name, item, *writes))}", "deps:", "  - stage.py"]
    lines += [f"  - {path}" for path in reads]
    models = [path for path in writes if not path.startswith("metrics")]
    lines += ["outs:", *(f"  - {path}" for path in models)] if models else []
    numbers = [path for path in writes if path.startswith("metrics")]
    lines += ["metrics:"] if numbers else []
    return lines + [line for path in numbers for line in (f"  - {path}:", "      cache: false")]


def environment(log: Path, **more: str) -> dict[str, str]:
    """For processes that run its stages."""
    paths = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return os.environ | {
        **{"PATH": os.pathsep.join(paths), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", "STAGE_LOG": str(log)},
        **{"DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        **more,
    }


def with_flows(root: Path) -> Path:
    """Add the project's own code, as a checkout has it."""
    for name in ("flows", "pipeline", "prefect.yaml"):
        (root / name).symlink_to(ROOT / name)
    return root


def events(log: Path) -> list[tuple[str, str, Path]]:
    """What the log says: start or end, stage, checkout."""
    rows = [line.split() for line in log.read_text().splitlines()] if log.is_file() else []
    return [(event, stage, Path(where)) for event, stage, where in rows]
