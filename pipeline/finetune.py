"""Stage `finetune`: let a pruned model recover."""

import argparse
import dataclasses
from functools import partial

from pipeline.common import MODELS, Training, eval_set, evaluate_model, save_results, stage, train
from yoloslim.config import Params
from yoloslim.models.store import load_model


def run(params: Params, percent: int) -> None:
    """Write models/finetune/<percent>, metrics/finetune/<percent>.json and plots/finetune/<percent>."""
    name = f"finetune/{percent}"
    start = MODELS / "prune" / str(percent) / "model.safetensors"
    result = train(params, Training(name, params.finetune, (start,)), dataclasses.replace, load_model(start))
    save_results(params, result.model, name, evaluate_model(params, result.model, eval_set(params, "test")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--percent", type=int, required=True, help="which pruned model")
    stage(partial(run, percent=parser.parse_args().percent))
