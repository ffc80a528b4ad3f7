"""Stage `finetune`: let a pruned model recover."""

import argparse
from functools import partial

from pipeline.common import MODELS, stage
from pipeline.training import Training, train
from yoloslim.config import Params
from yoloslim.models.store import load_model


def run(params: Params, percent: int) -> None:
    """Write models/finetune/<percent>, metrics/finetune/<percent>.json and plots/finetune/<percent>."""
    name = f"finetune/{percent}"
    start = MODELS / "prune" / str(percent) / "model.safetensors"
    train(params, Training(name, params.finetune, (start,)), load_model(start))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--percent", type=int, required=True, help="which pruned model")
    stage(partial(run, percent=parser.parse_args().percent))
