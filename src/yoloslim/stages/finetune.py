"""Stage `finetune`: let a pruned model recover."""

from pathlib import Path

from yoloslim.config import Params
from yoloslim.models.detector import Detector
from yoloslim.models.store import load_model
from yoloslim.stages.common import MODELS, stage_of_percent
from yoloslim.stages.repeats import train_repeats
from yoloslim.stages.training import Training
from yoloslim.training.distillation import Distillation
from yoloslim.training.fit import Callback


def distillation(params: Params) -> tuple[tuple[Path, ...], tuple[Callback, ...]]:
    """The teacher's file and the callback that learns from it; nothing without a teacher."""
    f = params.finetune
    if f.distill == "none":
        return (), ()
    path = MODELS / f.distill / "model.safetensors"
    teach = Distillation(load_model(path), params.train, f.distill_output, f.distill_feature, f.distill_temperature)
    return (path,), (teach,)


def run(params: Params, percent: int) -> None:
    """Write models/finetune/<percent> and plots/finetune/<percent>."""
    start = MODELS / "prune" / str(percent) / "model.safetensors"

    def begin() -> tuple[Training, Detector]:
        teachers, callbacks = distillation(params)
        training = Training(f"finetune/{percent}", params.finetune, (start, *teachers), callbacks=callbacks)
        return training, load_model(start)

    train_repeats(params, begin, params.finetune.repeats)


def main() -> None:
    """Run the stage for one model."""
    stage_of_percent(run, __doc__, "which pruned model")
