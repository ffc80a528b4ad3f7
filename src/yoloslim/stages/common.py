"""What every stage script shares: reading params, measuring a model, writing its files."""

import logging
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloslim.config import Params, load_params
from yoloslim.data.evalset import EvalSet, load_eval_set
from yoloslim.data.trainset import TrainSet, load_train_set
from yoloslim.data.voc import VocSplit, load_split
from yoloslim.errors import Interrupted, YoloslimError
from yoloslim.evaluation.evaluate import Evaluation, evaluate
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.evaluation.speed import measure_latency
from yoloslim.files import DISK, disk_sentence, write_json
from yoloslim.models.detector import Detector, count_macs, count_params
from yoloslim.models.store import save_model
from yoloslim.runner.headers import limit_megapixels

DATA = Path("data/voc")
MODELS, METRICS, PLOTS = Path("models"), Path("metrics"), Path("plots")
BASELINE = "baseline"
"""Stands for the zero row wherever a percent may stand."""

logger = logging.getLogger("yoloslim")


def stage(run: Callable[[Params], None]) -> None:
    """Run a stage script: errors made for people are printed without a traceback, and Ctrl-C says how to go on."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        params = load_params()
        limit_megapixels(params.data.max_megapixels)
        run(params)
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.exit_code)
    except YoloslimError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in DISK:
            raise
        sys.exit(f"error: {disk_sentence(error)}")
    except KeyboardInterrupt:
        print(
            "stopped; a training goes on from its last checkpoint when the same command is given again", file=sys.stderr
        )
        sys.exit(128 + signal.SIGINT)


def is_forced() -> bool:
    """Whether `dvc repro --force` (or `dvc exp run -f`) runs this stage.

    DVC tells its stages nothing about --force, so this reads the command lines of the processes above.
    """
    for process in psutil.Process().parents():
        with suppress(psutil.Error):
            words = process.cmdline()
            if any(re.search(r"(^|[\\/])dvc(\.exe|[\\/]__main__\.py)?$", word) for word in words[:3]) and {
                "repro",
                "run",
            } & set(words):
                return any(word == "--force" or re.fullmatch(r"-[a-zA-Z]*f[a-zA-Z]*", word) for word in words)
    return False


def split_of(name: str) -> VocSplit:
    """A split of the prepared data."""
    return load_split(DATA, name)


def eval_set(params: Params, split: str) -> EvalSet:
    """A split, letterboxed for evaluation."""
    return load_eval_set(split_of(split), params.imgsz, Path(params.train.cache_dir) / "images")


def train_set(params: Params) -> TrainSet:
    """The split `train`, in the largest size that any epoch asks for."""
    t = params.train
    size = max((params.imgsz, *t.resolutions))
    return load_train_set(split_of("train"), size, Path(t.cache_dir) / "images", t.memory_gb)


def training_images(params: Params, count: int) -> Iterator[Tensor]:
    """Batches (B, 3, S, S) in [0, 1] of training images, chosen by the seed."""
    return as_batches(params, training_sample(params, count))


def training_sample(params: Params, count: int) -> NDArray[np.uint8]:
    """Training images (n, S, S, 3), letterboxed for evaluation, chosen by the seed."""
    images = eval_set(params, "train").images
    return images[np.random.default_rng(params.seed).permutation(len(images))[:count]]


def as_batches(params: Params, images: NDArray[np.uint8]) -> Iterator[Tensor]:
    """Images (n, S, S, 3) as batches (B, 3, S, S) in [0, 1]."""
    for start in range(0, len(images), params.evaluation.batch):
        yield torch.from_numpy(images[start : start + params.evaluation.batch]).permute(0, 3, 1, 2).float() / 255


def evaluate_model(
    params: Params, model: Detector, images: EvalSet, precision: Literal["fp32", "bf16"] = "fp32"
) -> Evaluation:
    """Evaluate in PyTorch on `train.device`, wherever the model lies, with the thresholds of section `evaluation`."""
    from yoloslim.training.devices import choose_device  # not above: stages that only convert depend on no training

    e, device = params.evaluation, str(choose_device(params.train.device))
    predictor = TorchPredictor(model, device, precision, any_shape=e.rect)
    return evaluate(predictor, images, nms_options(params), e.batch, e.rect)


def nms_options(params: Params) -> NmsOptions:
    """The thresholds of section `evaluation`."""
    e = params.evaluation
    return NmsOptions(e.conf_thres, e.iou_thres, e.max_det, e.multi_label)


def save_results(
    params: Params, model: Detector, name: str, evaluation: Evaluation, extra: dict[str, float] | None = None
) -> None:
    """Write `models/<name>/` (model and detections) and `metrics/<name>.json` of one trained or pruned model.

    Args:
        params: all sections.
        model: what to store.
        name: `baseline`, `sparse`, `prune/50` ...
        evaluation: on the test split.
        extra: further metrics.
    """
    path = MODELS / name / "model.safetensors"
    save_model(model, path)
    detections = [[[round(float(v), 4) for v in row] for row in rows] for rows in evaluation.detections]
    write_json(MODELS / name / "detections.json", {"ids": split_of("test").ids, "detections": detections})
    found = {**evaluation.metrics, **measure(params, model), "size_mb": path.stat().st_size / 1e6}
    write_metrics(name, found | (extra or {}))
    logger.info("%s: test mAP50 %.3f, %.2f M parameters", name, found["map50"], found["params_m"])


def measure(params: Params, model: Detector) -> dict[str, float | str]:
    """What a model costs: params_m, gflops, and its latency in PyTorch on the CPU."""
    return {
        "params_m": count_params(model) / 1e6,
        "gflops": 2e-9 * count_macs(model, params.imgsz),
        **measure_latency(TorchPredictor(model), threads=params.evaluation.threads),
        "backend": "pytorch-cpu",
    }


def write_metrics(name: str, metrics: Mapping[str, float | str]) -> None:
    """Write `metrics/<name>.json`, six digits a number."""
    write_json(METRICS / f"{name}.json", {k: _rounded(v) for k, v in metrics.items()})


def _rounded(value: float | str) -> float | str:
    return float(f"{value:.6g}") if isinstance(value, float) else value
