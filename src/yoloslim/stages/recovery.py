"""A short training of a network that was just cut: between two rounds, or to see which ranking suits."""

from pathlib import Path
from typing import TYPE_CHECKING

from yoloslim.config import FinetuneParams, Params
from yoloslim.config.recipe import settle_recipes
from yoloslim.models.detector import Detector
from yoloslim.stages.batches import train_set
from yoloslim.stages.common import MODELS, is_forced
from yoloslim.stages.inputs import eval_set

if TYPE_CHECKING:
    from yoloslim.training.fit import Fit


def recovery(params: Params, epochs: int) -> FinetuneParams:
    """What `auto` and the defaults of section `finetune` stand for, for so many epochs.

    Not that section itself: else a change of the finetuning would cut all models anew.
    """
    usual = settle_recipes({"baseline": {"weights": params.baseline.weights}})["finetune"]
    return FinetuneParams(**usual, epochs=epochs)


def recover(
    params: Params, name: str, model: Detector, phase: FinetuneParams, settings: tuple[str, ...]
) -> tuple["Fit", Path]:
    """Train, or take what an interrupted run trained; the checkpoint is left for the caller to remove.

    Args:
        params: all sections.
        name: of the training, in the checkpoint's key.
        model: a cut of the sparse model.
        phase: see `recovery`.
        settings: what else the result depends on, for the checkpoint's key.
    """
    from yoloslim.stages.training import Training, checkpoint_key, validation_row
    from yoloslim.training.fit import Task, fit  # loads Lightning, which a single cut has no use for

    training = Training(name, phase, (MODELS / "sparse" / "model.safetensors",), settings)
    checkpoint = Path(params.train.cache_dir) / "checkpoints" / f"{checkpoint_key(params, training)}.pt"
    if is_forced():
        checkpoint.unlink(missing_ok=True)
    val = eval_set(params, "val")
    task = Task(
        model,
        train_set(params),
        lambda ema: validation_row(params, ema, val),
        params.train,
        phase,
        params.seed,
        keep="last",
        checkpoint=checkpoint,
    )
    return fit(task), checkpoint
