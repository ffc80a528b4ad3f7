"""What every stage script shares: reading params, measuring a model, writing its files."""

import csv
import hashlib
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from yoloslim.config import Params, PhaseParams, load_params
from yoloslim.data.evalset import EvalSet, load_eval_set
from yoloslim.data.trainset import load_train_set
from yoloslim.data.voc import VocSplit, load_split
from yoloslim.errors import YoloslimError
from yoloslim.evaluation.evaluate import Evaluation, evaluate
from yoloslim.evaluation.predictor import TorchPredictor
from yoloslim.evaluation.speed import measure_latency
from yoloslim.files import atomic_path, sha256_file, write_json
from yoloslim.models.detector import Detector, count_macs, count_params
from yoloslim.models.store import save_model
from yoloslim.training.fit import Fit, Task, fit

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
        run(load_params())
    except YoloslimError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; a training goes on after its last whole epoch when the same command is given again")


def split_of(name: str) -> VocSplit:
    """A split of the prepared data."""
    return load_split(DATA, name)


def eval_set(params: Params, split: str) -> EvalSet:
    """A split, letterboxed for evaluation."""
    return load_eval_set(split_of(split), params.imgsz, Path(params.train.cache_dir) / "images")


def evaluate_model(params: Params, model: Detector, images: EvalSet) -> Evaluation:
    """Evaluate in fp32 PyTorch, with the thresholds of section `evaluation`."""
    e = params.evaluation
    return evaluate(TorchPredictor(model), images, e.conf_thres, e.iou_thres, e.max_det, e.batch)


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
    metrics: dict[str, float | str] = {
        **evaluation.metrics,
        "params_m": count_params(model) / 1e6,
        "gflops": 2e-9 * count_macs(model, params.imgsz),
        "size_mb": path.stat().st_size / 1e6,
        **measure_latency(TorchPredictor(model), threads=params.ascend_eval.threads),
        "backend": "pytorch-cpu",
    }
    write_json(METRICS / f"{name}.json", {k: _rounded(v) for k, v in (metrics | (extra or {})).items()})
    logger.info("%s: test mAP50 %.3f, %.2f M parameters", name, evaluation.metrics["map50"], metrics["params_m"])


def _rounded(value: float | str) -> float | str:
    return round(value, 6) if isinstance(value, float) else value


@dataclass(frozen=True)
class Training:
    """One of the three trainings.

    Attributes:
        name: `baseline`, `sparse`, `finetune/50` ...
        phase: its section of params.yaml.
        inputs: files that it starts from.
        choices: whatever else it depends on, in words.
    """

    name: str
    phase: PhaseParams
    inputs: tuple[Path, ...]
    choices: tuple[str, ...] = ()


def train(params: Params, training: Training, task: Callable[[Task], Task], model: Detector) -> Fit:
    """Train as params say, resuming an interrupted run of the very same inputs; write history and epochs.csv.

    Args:
        params: all sections.
        training: which one.
        task: adds callbacks or other choices to the task.
        model: where to start.
    """
    images = Path(params.train.cache_dir) / "images"
    val = eval_set(params, "val")

    def validate(ema: Detector) -> dict[str, float]:
        metrics = evaluate_model(params, ema, val).metrics
        return {k: metrics[k] for k in ("map50", "map50_95", "precision", "recall")}

    result = fit(
        task(
            Task(
                model,
                load_train_set(split_of("train"), params.imgsz, images),
                validate,
                params.train,
                training.phase,
                params.seed,
                checkpoint=Path(params.train.cache_dir) / "checkpoints" / f"{_key(params, training)}.pt",
            )
        )
    )
    write_json(MODELS / training.name / "history.json", {"kept_epoch": result.kept_epoch, "epochs": result.history})
    _write_csv(PLOTS / training.name / "epochs.csv", result.history)
    return result


def _key(params: Params, training: Training) -> str:
    parts = [training.name, str(params.seed), params.model, str(params.imgsz)]
    parts += [section.model_dump_json() for section in (params.train, training.phase, params.evaluation)]
    parts += training.choices
    parts += [sha256_file(path) for path in (DATA / "report.json", *training.inputs)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _write_csv(path: Path, rows: list[dict[str, float]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows({k: round(v, 6) for k, v in row.items()} for row in rows)
