"""Stage `control`: the dense model, trained for as many epochs in all as a pruned one.

A pruned model trains on after the baseline is done, and may be better for that alone. The control trains on as well, by
the section `finetune`, for the epochs of sparse training and finetuning together, and is never cut.
"""

import argparse
from functools import partial

from yoloslim.config import Params, PhaseParams
from yoloslim.config.train import NOBODY, TEACHER
from yoloslim.models.store import load_model
from yoloslim.stages.common import BASELINE, CONTROL, MODELS, stage
from yoloslim.stages.repeats import train_repeats
from yoloslim.stages.training import Training


def phase_of(params: Params) -> PhaseParams:
    """Section `finetune`, without teacher and rounding, for all epochs that a pruned model trains on."""
    sparse = params.sparse.epochs if params.sparse.penalty != "none" else 0
    epochs = params.finetune.epochs + sparse
    alone = {"teacher": NOBODY, "distill_output": 0.0, "distill_feature": 0.0, "quantize": False}
    return params.finetune.model_copy(update={"epochs": epochs, **alone})


def run(params: Params, which: str) -> None:
    """Write models/control/<which> and plots/control/<which>."""
    start = MODELS / BASELINE / "model.safetensors"
    teaches = params.finetune.is_taught and params.finetune.teacher == TEACHER
    better = f"{NOBODY} would be the better " + ("teacher (finetune.teacher)" if teaches else "of the two")
    weights = bool(params.baseline.weights)
    training = Training(f"{CONTROL}/{which}", phase_of(params), (start,), is_from_weights=weights, advice=better)
    train_repeats(params, lambda: (training, load_model(start)), params.finetune.repeats)


def main() -> None:
    """Run the stage for one control."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--which", required=True, choices=("dense",), help="what is trained on")
    stage(partial(run, which=parser.parse_args().which))
