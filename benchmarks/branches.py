"""Percents side by side: `make repro` and `yoloslim sweep` as they choose, against one stage after the other.

    python -m benchmarks.branches repro --loops 0 1
    python -m benchmarks.branches sweep

`make repro` starts in a fresh clone of this repository's last commit, a sweep where all that its points share has run;
it finetunes four listed percents. The sets and the epochs are small, so what is gained is mostly the finetunings'.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.shares import beside, burn
from yoloslim.config.edit import set_list, set_values
from yoloslim.orchestration.points import OF_CONTROL, SHARED, reproduce

ROOT = Path(__file__).resolve().parents[1]
SMALL = {"data.train_images": 400, "data.val_images": 60, "data.test_images": 100, "tracking.enabled": False}
EPOCHS = {"baseline.epochs": 4, "finetune.epochs": 6}
PERCENTS = {"repro": (30, 50, 70), "sweep": (20, 40, 60, 80)}
COMMANDS = {
    "repro": ("make", "--old-file", ".venv/.ready", "repro"),
    "sweep": ("yoloslim", "sweep", "low=20", "high=80", "step=20", "coarse=20"),
}
WAYS = {"chosen": (0, ""), "one after the other, 1 thread": (1, "1"), "one after the other, 2 threads": (1, "2")}
"""Name -> `sweep.workers`, `OMP_NUM_THREADS`."""


def clone(folder: Path, what: str) -> None:
    """A clone with small parameters, and the environment of this process."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    set_values(folder / "params.yaml", {**SMALL, **EPOCHS})
    set_list(folder / "params.yaml", "percents", list(PERCENTS[what]))
    (folder / ".venv").symlink_to(sys.prefix)


def seconds(start: Path, way: str, what: str) -> float:
    """Of the command, in a copy of a folder."""
    workers, threads = WAYS[way]
    with tempfile.TemporaryDirectory(prefix="branches-") as temporary:
        folder = Path(temporary) / "project"
        shutil.copytree(start, folder, symlinks=True)
        set_values(folder / "params.yaml", {"sweep.workers": workers})
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        environment |= {"OMP_NUM_THREADS": threads} if threads else {}
        environment |= {"PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(folder / "src")}
        began = time.perf_counter()
        done = subprocess.run(COMMANDS[what], cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(COMMANDS[what])}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr}")
        return time.perf_counter() - began


def main() -> None:
    """Print a row for each run, as they end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(COMMANDS))
    parser.add_argument("--loops", nargs="+", type=int, default=[0], help="busy loops beside it")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--start", type=Path, help="the folder to start from is kept here, for the next time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="branches-") as temporary:
        start = arguments.start or Path(temporary) / "start"
        if not start.is_dir():
            clone(start, arguments.what)
            os.environ["PYTHONPATH"] = str(start / "src")
            if arguments.what == "sweep":
                reproduce((*SHARED, *(stage.format("dense") for stage in OF_CONTROL)), start, "shared", print)
        print("| command | busy loops | way | s |\n|:--|--:|:--|--:|", flush=True)
        for loops in arguments.loops:
            with beside([(burn, ())] * loops):
                for way in arguments.ways:
                    took = seconds(start, way, arguments.what)
                    print(f"| {arguments.what} | {loops} | {way} | {took:.0f} |", flush=True)


if __name__ == "__main__":
    main()
