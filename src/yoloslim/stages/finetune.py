"""Stage `finetune`: let a pruned model recover."""

from pathlib import Path

from yoloslim import ranges
from yoloslim.config import FinetuneParams, Params
from yoloslim.errors import TrainError
from yoloslim.models.detector import Detector
from yoloslim.models.foreign.load import read_model
from yoloslim.models.store import load_model
from yoloslim.ranges import ConvRange
from yoloslim.stages.common import MODELS, stage_of_percent
from yoloslim.stages.inputs import training_sample
from yoloslim.stages.repeats import train_repeats
from yoloslim.stages.teachers import missing_teacher, teacher_file
from yoloslim.stages.training import Training
from yoloslim.training.distillation import Distillation
from yoloslim.training.fit import Callback, Fit
from yoloslim.training.quantization import FakeQuantization

RANGE_IMAGES = 128
"""Training images that the ranges of activations are taken from before quantisation-aware epochs."""


def distillation(params: Params) -> tuple[tuple[Path, ...], tuple[Callback, ...]]:
    """The teacher's file and the callback that learns from it; nothing without a teacher.

    Raises:
        TrainError: the teacher is missing.
    """
    f, path = params.finetune, teacher_file(params)
    if path is None:
        return (), ()
    if not path.is_file():
        raise TrainError(missing_teacher(params))
    teach = Distillation(read_model(path), params.train, f.distill_output, f.distill_feature, f.distill_temperature)
    return (path,), (teach,)


def phase_of(params: Params) -> FinetuneParams:
    """Section `finetune` for the epochs that the rounds of pruning have left."""
    return params.finetune.model_copy(update={"epochs": params.finetune.epochs - params.round_epochs})


def run(params: Params, percent: int) -> None:
    """Write models/finetune/<percent> and plots/finetune/<percent>."""
    phase = phase_of(params)
    start, name = MODELS / "prune" / str(percent) / "model.safetensors", f"finetune/{percent}"
    rounding: list[FakeQuantization] = []  # of the training under way, if it is quantised
    found: dict[str, ConvRange] = {}

    def begin() -> tuple[Training, Detector]:
        teachers, callbacks = distillation(params)
        if params.finetune.quantize:
            rounding[:] = [FakeQuantization(training_sample(params, RANGE_IMAGES), phase.epochs)]
        # the best epoch may be one before anything was rounded
        keep_last = params.finetune.quantize
        callbacks = (*callbacks, *rounding)
        training = Training(name, phase, (start, *teachers), callbacks=callbacks, keep_last=keep_last)
        return training, load_model(start)

    def note_ranges(result: Fit) -> dict[str, float]:
        (MODELS / name / ranges.FILE).unlink(missing_ok=True)  # of an earlier training
        for quantization in rounding:
            found.update(quantization.ranges(result.model))
        return {}

    train_repeats(params, begin, params.finetune.repeats, note_ranges)
    if found:
        ranges.save(found, MODELS / name / "model.safetensors")


def main() -> None:
    """Run the stage for one model."""
    stage_of_percent(run, __doc__, "which pruned model")
