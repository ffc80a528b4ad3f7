"""Stage `prune`: cut a share of the channels out of the sparse model, and prove the cut exact."""

import argparse
import copy
import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.common import MODELS, eval_set, evaluate_model, save_results, stage
from yoloslim.config import Params
from yoloslim.files import write_json
from yoloslim.models.store import load_model
from yoloslim.pruning.prune import prune
from yoloslim.pruning.recalibrate import recalibrate
from yoloslim.pruning.request import PruneRequest


def training_images(params: Params, count: int) -> Iterator[Tensor]:
    """Batches (B, 3, S, S) in [0, 1] of training images, chosen by the seed."""
    images = eval_set(params, "train").images
    chosen = np.random.default_rng(params.seed).permutation(len(images))[:count]
    for start in range(0, len(chosen), params.evaluation.batch):
        batch = images[chosen[start : start + params.evaluation.batch]]
        yield torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255


def request_of(params: Params, percent: int) -> PruneRequest:
    """Section `prune` and a percent, as the library takes them."""
    fields = {f.name for f in dataclasses.fields(PruneRequest)} & set(type(params.prune).model_fields)
    chosen: dict[str, Any] = {name: getattr(params.prune, name) for name in fields}
    return PruneRequest(**chosen, percent=percent, imgsz=params.imgsz, seed=params.seed)


def run(params: Params, percent: int) -> None:
    """Write models/prune/<percent> and metrics/prune/<percent>.json."""
    test = eval_set(params, "test")
    sample = torch.cat(list(training_images(params, params.prune.certificate_images)))
    sparse = load_model(MODELS / "sparse" / "model.safetensors")
    result = prune(sparse, request_of(params, percent), sample, tolerance=params.prune.tolerance)
    recalibrated = copy.deepcopy(result.model)
    recalibrate(recalibrated, training_images(params, params.prune.recalibrate_images))
    evaluation = evaluate_model(params, recalibrated, test)
    steps = {
        "map50_cut": evaluate_model(params, result.cut, test).metrics["map50"],
        "map50_folded": evaluate_model(params, result.model, test).metrics["map50"],
        "map50_recalibrated": evaluation.metrics["map50"],
        "percent_requested": float(percent),
        "percent_effective": float(result.report["effective_percent"]),
        "certificate_max_diff": max(result.certificate.cut),
    }
    write_json(MODELS / "prune" / str(percent) / "report.json", result.report)
    save_results(params, recalibrated, f"prune/{percent}", evaluation, steps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--percent", type=int, required=True, help="share of prunable channels to remove")
    stage(partial(run, percent=parser.parse_args().percent))
