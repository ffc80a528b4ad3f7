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
from yoloslim.data.evalset import load_eval_set
from yoloslim.data.prepare import prepare
from yoloslim.data.trainset import load_train_set
from yoloslim.data.voc import load_split
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
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
        root, cache = prepared(arguments.pack, Path(folder) / "voc"), Path(folder) / "cache"
        start = time.perf_counter()
        _, metrics = train_model("yolov5n", root, cache, EPOCHS, arguments.seed)
        facts = {"seed": arguments.seed, "threads": torch.get_num_threads()}
        print(json.dumps(facts | metrics | {"wall_s": round(time.perf_counter() - start, 1)}))


def prepared(pack: Path, root: Path) -> Path:
    """The data set as a folder; prepared before or now."""
    if not (root / "report.json").is_file():
        prepare(DataParams(source="voc", path=str(pack), train_set="trainval", val_set="test", test_set="test"), root)
    return root


def train_model(
    name: str, root: Path, cache: Path, epochs: int, seed: int, checkpoint: Path | None = None, device: str = "auto"
) -> tuple[Detector, dict[str, float]]:
    """Train a model from scratch; the averaged weights of its best epoch, and their metrics."""
    split = load_split(root, "train")
    images, test = load_train_set(split, IMGSZ, cache), load_eval_set(load_split(root, "test"), IMGSZ, cache)
    # small data, many boxes: mosaic pays, as do small batches
    recipe = TrainParams(
        share=0, batch=16, mosaic=1.0, close_mosaic=0, scale=0.5, hsv_s=0.7, hsv_v=0.4, val_every=2, device=device
    )
    phase = BaselineParams(epochs=epochs, warmup_epochs=1.0)
    head = build_spec(name, split.classes).head.fitted(images.box_sizes(), IMGSZ, recipe, 0)
    torch.manual_seed(seed)
    model = build_detector(name, split.classes, IMGSZ, head)

    def validate(network: Detector) -> dict[str, float]:
        return evaluate(TorchPredictor(network, str(next(network.parameters()).device)), test).metrics

    result = fit(Task(model, images, validate, recipe, phase, seed, checkpoint=checkpoint))
    best, last = validate(result.model), result.history[-1]
    return result.model, {
        "map50": round(best["map50"], 3),
        "map50_95": round(best["map50_95"], 3),
        "last_map50": round(last["map50"], 3),
        "last_map50_95": round(last["map50_95"], 3),
        "images_per_s": round(float(np.median([row["images_per_s"] for row in result.history])), 1),
    }


if __name__ == "__main__":
    main()
