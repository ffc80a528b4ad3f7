"""From the command to the first step of a training: `python -m benchmarks.first_step --images 2800 11200`.

Drawn pictures, in a process of its own each time: the first training after the one that made the store of decoded
images, with the file cache emptied (as root) or full. `--source FOLDER` names source trees of versions that take turns.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

IMGSZ = 128

STEP = f"""
import json, sys, time
from pathlib import Path
from yoloslim.config import BaselineParams, TrainParams
from yoloslim.data.trainset import load_train_set
from yoloslim.data.voc import load_split
from yoloslim.models.detector import build_detector
from yoloslim.training.callback import Callback
from yoloslim.training.fit import Task, fit
def read_bytes():
    return int(dict(line.split(": ") for line in open("/proc/self/io"))["read_bytes"])
folder, marks, before = Path(sys.argv[1]), [time.time()], read_bytes()
split = load_split(folder / "voc", "train")
marks.append(time.time())
images = load_train_set(split, {IMGSZ}, folder / "cache")
marks.append(time.time())
class Stop(Callback):
    def after_step(self, state):
        print(json.dumps([*marks, time.time(), read_bytes() - before]), flush=True)
        raise SystemExit
model = build_detector("yolov5n", split.classes, {IMGSZ})
validate = lambda _: {{"map50": 0.0, "map50_95": 0.0}}
fit(Task(model, images, validate, TrainParams(batch=16, mosaic=1.0), BaselineParams(epochs=1), callbacks=(Stop(),)))
"""


def first_step(folder: Path, source: Path, cold: bool) -> list[float]:
    """Seconds for imports, annotations, opening the store, a first step, and all of it; MB read after the imports."""
    if cold:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    environment = os.environ | {"PYTHONPATH": str(source)}
    start = time.time()
    command = [sys.executable, "-c", STEP, str(folder)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    *marks, read = json.loads(done.stdout.splitlines()[-1])
    return [*np.diff([start, *marks]).tolist(), marks[-1] - start, read / 1e6]


def drawn(folder: Path, images: int) -> None:
    from benchmarks.growth import drawn_set
    from yoloslim.config import DataParams
    from yoloslim.data.prepare import prepare

    prepare(DataParams(source="yolo", path=str(drawn_set(folder, images, 7, 5))), folder / "voc")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[2800, 11200])
    parser.add_argument("--source", type=Path, nargs="+", default=[Path("src")])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(
        "| images | version | file cache | imports | annotations | store | first step | all, s | read, MB |", flush=True
    )
    for images in arguments.images:
        with tempfile.TemporaryDirectory(prefix="first-", dir=Path.cwd()) as name:
            drawn(Path(name), images)
            for source in arguments.source:
                first_step(Path(name), source.resolve(), cold=False)  # makes the store
            known = Path(name) / "cache/digests.json"
            made = known.read_bytes()
            for cold in (True, False):
                found: list[list[list[float]]] = []
                for _ in range(arguments.rounds):
                    found.append([])
                    for source in arguments.source:
                        known.write_bytes(made)
                        found[-1].append(first_step(Path(name), source.resolve(), cold))
                for source, row in zip(arguments.source, np.median(found, 0), strict=True):
                    cells = " | ".join(f"{value:.1f}" for value in row)
                    print(f"| {images} | {source} | {'empty' if cold else 'full'} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
