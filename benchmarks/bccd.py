"""YOLOv5n from scratch on bccd, 320 px, 30 epochs: `python -m benchmarks.bccd ../shared/data/bccd.tar`.

Prints wall time, images a second and test metrics of the last averaged weights and of the best epoch's. Test doubles as
validation set, as in the peer's run that it is compared with.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from yoloslim.config import BaselineParams, DataParams, TrainParams
from yoloslim.data.anchors import fit_anchors
from yoloslim.data.evalset import load_eval_set
from yoloslim.data.prepare import prepare
from yoloslim.data.trainset import load_train_set
from yoloslim.data.voc import load_split
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.predictor import TorchPredictor
from yoloslim.models.detector import Detector, build_detector
from yoloslim.models.zoo import build_spec
from yoloslim.training.fit import Task, fit

IMGSZ, EPOCHS = 320, 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack", type=Path, help="bccd.tar")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "voc", Path(folder) / "cache"
        prepare(
            DataParams(source="voc", path=str(arguments.pack), train_set="trainval", val_set="test", test_set="test"),
            root,
        )
        start = time.perf_counter()
        print(json.dumps(train(root, cache, arguments.seed) | {"wall_s": round(time.perf_counter() - start, 1)}))


def train(root: Path, cache: Path, seed: int) -> dict[str, object]:
    split = load_split(root, "train")
    images, test = load_train_set(split, IMGSZ, cache), load_eval_set(load_split(root, "test"), IMGSZ, cache)
    # small data, many boxes: mosaic pays, as do small batches
    recipe = TrainParams(batch=16, mosaic=1.0, close_mosaic=0, scale=0.5, hsv_s=0.7, hsv_v=0.4, val_every=2)
    phase = BaselineParams(epochs=EPOCHS, warmup_epochs=1.0)
    anchors = fit_anchors(images.box_sizes(), build_spec("yolov5n", split.classes).anchors, IMGSZ, recipe.anchor_t)
    torch.manual_seed(seed)
    model = build_detector("yolov5n", split.classes, IMGSZ, anchors)

    def validate(network: Detector) -> dict[str, float]:
        return evaluate(TorchPredictor(network), test).metrics

    result = fit(Task(model, images, validate, recipe, phase, seed))
    best, last = validate(result.model), result.history[-1]
    speed = float(np.median([row["images_per_s"] for row in result.history]))
    return {
        "seed": seed,
        "threads": torch.get_num_threads(),
        "images_per_s": round(speed, 1),
        "best": {k: round(best[k], 3) for k in ("map50", "map50_95")},
        "last": {k: round(last[k], 3) for k in ("map50", "map50_95")},
    }


if __name__ == "__main__":
    main()
