"""What the trainings of all stages share: resuming, evaluating, writing what came out."""

import copy
import csv
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from yoloslim.config import Params, PhaseParams
from yoloslim.config.machine import MACHINE
from yoloslim.data.digests import Digests
from yoloslim.data.evalset import EvalSet
from yoloslim.files import atomic_path, write_json
from yoloslim.models.detector import Detector
from yoloslim.models.store import save_model
from yoloslim.pruning.recalibrate import recalibrate
from yoloslim.stages.batches import statistics_images, train_set
from yoloslim.stages.code import Library
from yoloslim.stages.common import DATA, MODELS, PLOTS, REPEATS, is_forced
from yoloslim.stages.follow import follow
from yoloslim.stages.inputs import eval_set
from yoloslim.stages.measuring import validate_model
from yoloslim.stages.models import store
from yoloslim.stages.teachers import expect_form_of
from yoloslim.training.devices import choose_precision
from yoloslim.training.fit import Callback, Fit, Task, fit
from yoloslim.training.preview import Preview

logger = logging.getLogger(__name__)


AS_THEY_ARE = "epochs: 0 takes the weights as they are"


@dataclass(frozen=True)
class Training:
    """A training of a stage.

    Attributes:
        name: `baseline`, `sparse`, `control/dense`, `finetune/50`, `ranking/gamma` ...
        phase: its section of params.yaml.
        inputs: files that it starts from.
        choices: whatever else it depends on, in words.
        callbacks: what rides on the loop.
        keep_last: keep the last epoch, not the one with the best val mAP.
        recalibrate_images: training images to re-estimate BatchNorm statistics on before a model is measured or
            stored: running averages lag behind scales that shrink every step. 0 keeps the averages.
        is_from_weights: it starts from weights of others; what they find is measured first, and it is said where the
            training made it worse.
        advice: what that warning ends with.
        repeat: number of this training among those with other seeds; 0 is the one whose model goes on, and of the
            others nothing is kept but the model.
    """

    name: str
    phase: PhaseParams
    inputs: tuple[Path, ...] = ()
    choices: tuple[str, ...] = ()
    callbacks: tuple[Callback, ...] = ()
    keep_last: bool = False
    recalibrate_images: int = 0
    is_from_weights: bool = False
    advice: str = AS_THEY_ARE
    repeat: int = 0


def train(
    params: Params, training: Training, model: Detector, more: Callable[[Fit], dict[str, float]] | None = None
) -> None:
    """Train, resuming an interrupted run of the very same inputs; write model and plots.

    The checkpoint is removed once these are written, and before starting under `dvc repro --force`; for the arguments
    see `train_resumable`.
    """
    if checkpoint := train_resumable(params, training, model, more):
        checkpoint.unlink(missing_ok=True)


def train_resumable(
    params: Params, training: Training, model: Detector, more: Callable[[Fit], dict[str, float]] | None = None
) -> Path | None:
    """Train likewise, and leave the checkpoint for the caller to remove: until then the same costs nothing again.

    Args:
        params: all sections.
        training: which one.
        model: where to start.
        more: writes further files from what came out, and gives facts for the model's metrics.

    Returns:
        The checkpoint; None in a process that is not the one that writes.
    """
    expect_form_of(params, model.spec)
    phase, start = training.phase, "trained weights" if params.baseline.weights else "scratch"
    logger.info("%s, lr0 %g, for a pipeline that starts from %s", phase.optimizer, phase.lr0, start)
    val = eval_set(params, "val")
    images, count = train_set(params), training.recalibrate_images
    # taken once: it reads the labels of the whole training set, and hashes every image
    batches = statistics_images(params, count, images) if count else None

    def settle(model: Detector) -> Detector:
        if batches is None:
            return model
        settled = copy.deepcopy(model)
        device = next(settled.parameters()).device
        recalibrate(settled, (x.to(device) for x in batches()), fixed=settled.model[: params.train.freeze])
        return settled

    given = validation_row(params, model, val) if training.is_from_weights else None
    preview, key = Preview(), checkpoint_key(params, training)
    live = follow(params, training.name, key)
    checkpoint = Path(params.train.cache_dir) / "checkpoints" / f"{key}.pt"
    if is_forced():
        checkpoint.unlink(missing_ok=True)
    task = Task(
        model,
        images,
        lambda ema: validation_row(params, settle(ema), val),
        params.train,
        training.phase,
        params.seed,
        (*training.callbacks, preview, live),
        "last" if training.keep_last else "best",
        checkpoint,
    )
    with live:
        result = fit(task)
    if not result.is_main:
        return None
    if training.repeat:
        save_model(settle(result.model), MODELS / training.name / REPEATS / f"{params.seed}.safetensors")
        return checkpoint
    history = {"kept_epoch": result.kept_epoch, "training": key, "epochs": result.history}
    if given:
        history["start"] = given
        compare_with_start(given, result, phase, training.advice)
    write_json(MODELS / training.name / "history.json", history)
    write_csv(PLOTS / training.name / "epochs.csv", result.history)
    preview.write(MODELS / training.name / "batches.npz")
    facts = more(result) if more else None
    store(settle(result.model), training.name, facts)
    return checkpoint


def write_untrained(name: str, facts: dict[str, Any]) -> None:
    """Write history and curves of a model that its stage takes as it is: without an epoch, which DVC wants files of.

    Args:
        name: `baseline` or `sparse`.
        facts: what the history says besides.
    """
    write_json(MODELS / name / "history.json", {"kept_epoch": 0, **facts, "epochs": []})
    with atomic_path(PLOTS / name / "epochs.csv") as temporary:
        temporary.write_text("epoch\n", encoding="utf-8")


def compare_with_start(given: dict[str, float], result: Fit, phase: PhaseParams, advice: str = AS_THEY_ARE) -> None:
    """Say what weights found on val before they were trained on, and warn where that was more than after.

    Args:
        given: metrics of the weights, of which `map50` counts.
        result: what came of them.
        phase: rate and epochs of the training.
        advice: what the warning ends with.
    """
    before, after = given["map50"], result.history[result.kept_epoch - 1]["map50"]
    logger.info("val mAP50 %.3f before training, %.3f after", before, after)
    if round(after, 3) < round(before, 3):  # as it is shown
        logger.warning(
            "the training made the weights that it started from worse: val mAP50 %.3f before, %.3f after; lower its "
            "rate (lr0 %g) or its epochs (%d), or train on more images; %s",
            before,
            after,
            phase.lr0,
            phase.epochs,
            advice,
        )


def validation_row(params: Params, model: Detector, val: EvalSet) -> dict[str, float]:
    """What an epoch is judged by: map50, map50_95, precision, recall on `val`.

    In the precision of the training, which on many CPUs is twice as fast; what is reported is measured in fp32.
    """
    fast = choose_precision(params.train.precision, next(model.parameters()).device) == "bf16-mixed"
    metrics = validate_model(params, model, val, "bf16" if fast else "fp32").metrics
    return {k: metrics[k] for k in ("map50", "map50_95", "precision", "recall")}


def checkpoint_key(params: Params, training: Training) -> str:
    """Hash of data, start weights, params, code and PyTorch's version: a checkpoint of others is never resumed."""
    settings = params.train.model_dump_json(
        exclude={key.partition(".")[2] for key in MACHINE if key.startswith("train.")}
    )
    parts = [training.name, str(params.seed), params.model, str(params.imgsz), settings]
    parts += [training.phase.model_dump_json(), *training.choices, torch.__version__]
    files = [*sorted(p for p in DATA.rglob("*") if p.is_file()), *training.inputs]
    parts += Digests(Path(params.train.cache_dir)).of(files) + code_of(training.name)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def code_of(name: str, library: Library | None = None) -> list[str]:
    """Fingerprints of the code that the training `name` runs; not every training is a stage."""
    library = library or Library()
    modules = ("yoloslim.stages.training", f"yoloslim.stages.{name.split('/')[0]}")
    return [f"{library.fingerprint(path)} {file}" for file, path in sorted(library.closure(modules).items())]


def write_csv(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write an epoch a line; what an epoch lacks is left empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows({k: round(v, 6) for k, v in row.items()} for row in rows)
