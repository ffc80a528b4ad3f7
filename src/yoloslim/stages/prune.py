"""Stage `prune`: cut a share of the channels out of the sparse model, and prove the cut exact."""

import copy
import dataclasses
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yoloslim.config import Params
from yoloslim.config.recipe import AUTO
from yoloslim.data.trainset import load_train_set
from yoloslim.deploy.latency import layer_latencies_ms
from yoloslim.deploy.timed_prune import Timing, about_time, timed_prune
from yoloslim.errors import ConfigError
from yoloslim.files import read_json, write_json
from yoloslim.models.detector import Detector
from yoloslim.models.store import load_model
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.activation import activation_scores
from yoloslim.pruning.certified_cut import PruneResult
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.importance import Scores, taylor_scores
from yoloslim.pruning.prune_report import shortfall
from yoloslim.pruning.recalibrate import recalibrate
from yoloslim.pruning.reconstruct import reconstruct
from yoloslim.stages.batches import plain_batches, statistics_images, training_images
from yoloslim.stages.common import METRICS, MODELS, stage_of_percent, timing_threads
from yoloslim.stages.inputs import eval_set, prepared_split
from yoloslim.stages.measuring import validate_model
from yoloslim.stages.models import store
from yoloslim.stages.rounds import prune_in_rounds

logger = logging.getLogger(__name__)

SCORED_IMAGES = 128
"""Training images that an importance looks at, where it looks at any."""


def taylor(params: Params, model: Detector, count: int = SCORED_IMAGES) -> Scores:
    """First-order Taylor scores on plain training images."""
    images = load_train_set(prepared_split("train"), params.imgsz, Path(params.train.cache_dir) / "images")
    batches = plain_batches(images, count, params.seed)
    loss = model.spec.loss(params.train, torch.device("cpu"))
    return taylor_scores(model, find_coupling(model), batches, lambda m, b: loss(m(b.images), b.targets)[0])


def scores_of(params: Params, model: Detector) -> Scores | None:
    """Scores of an importance that looks at training images; None for any other."""
    if params.prune.importance == "activation":
        return activation_scores(model, find_coupling(model), training_images(params, SCORED_IMAGES))
    return taylor(params, model) if params.prune.importance == "taylor" else None


def request_of(params: Params, percent: int) -> PruneRequest:
    """Section `prune` and a percent, as the library takes them."""
    fields = {f.name for f in dataclasses.fields(PruneRequest)} & set(type(params.prune).model_fields)
    chosen: dict[str, Any] = {name: getattr(params.prune, name) for name in fields}
    return PruneRequest(**chosen, percent=percent, imgsz=params.imgsz, seed=params.seed)


def timing_of(params: Params) -> Timing:
    """What milliseconds are measured on; the device and the chip are those that the Ascend stages have, too."""
    p = params.prune
    board = None
    if p.latency_runtime == "ascend":
        from yoloslim.deploy.ascend.clock import named_board

        a, options = params.ascend, params.atc.model_dump()
        board = named_board(a.target, a.set_env, a.python, aipp_input=a.aipp_input, **options)
    table = Path(p.latency_table) if p.latency_table else None
    return Timing(p.latency_runtime, timing_threads(params), p.selection, table, board)


def ranked(params: Params) -> Params:
    """The same with the ranking that stage `ranking` found in place of `auto`.

    Raises:
        ConfigError: it has not run.
    """
    if params.prune.importance != AUTO:
        return params
    path = METRICS / "ranking.json"
    if not path.is_file():
        raise ConfigError(
            f"{path} is missing, which says what `prune.importance: auto` came to: run `dvc repro ranking`"
        )
    found = read_json(path)
    prune = params.prune.model_copy(update={name: found[name] for name in ("importance", "normalise")})
    return params.model_copy(update={"prune": prune})


def cut_model(params: Params, percent: int) -> PruneResult[Detector]:
    """The sparse model without its least important channels, in one cut, proved on real images."""
    return cut_once(params, load_model(MODELS / "sparse" / "model.safetensors"), request_of(params, percent))


def cut_once(params: Params, model: Detector, request: PruneRequest) -> PruneResult[Detector]:
    """A model without its least important channels, proved on real images."""
    sample = torch.cat(list(training_images(params, params.prune.certificate_images)))
    p, threads = params.prune, timing_threads(params)
    result = timed_prune(
        model,
        request,
        timing_of(params),
        sample,
        tolerance=p.tolerance,
        scores=scores_of(params, model),
        layer_costs=layer_latencies_ms(model, p.latency_runtime, threads)
        if p.cost_power and p.cost == "latency" and p.latency_runtime != "ascend"
        else None,
    )
    if time := about_time(result.report):
        logger.info("%s", time)
    return result


def settled(params: Params, result: PruneResult[Detector]) -> Detector:
    """A copy that makes up for the cut without training: by BatchNorm statistics, or all layers, fitted anew."""
    if not params.prune.fit_images:
        model = copy.deepcopy(result.model)
        if count := params.prune.recalibrate_images:
            recalibrate(model, statistics_images(params, count)())
        return model
    model, dense = copy.deepcopy(result.cut), load_model(MODELS / "sparse" / "model.safetensors")
    images = torch.cat(list(training_images(params, params.prune.fit_images)))
    misfits = reconstruct(dense, model, find_coupling(dense), result.selection.keep, images, params.seed).values()
    before, after = (float(np.mean([getattr(m, when) for m in misfits])) for when in ("before", "after"))
    logger.info("%d layers fitted on %d images: off by %.3f, now by %.3f", len(misfits), len(images), before, after)
    return model


def tell(request: PruneRequest, report: Mapping[str, Any]) -> None:
    """Say what a cut came to, and why it is less than was asked for."""
    before, after, removed = report["before"], report["after"], report["effective_percent"]
    macs = 100 * after["gflops"] / before["gflops"]
    size = f"{before['params_m']:.2f} M -> {after['params_m']:.2f} M parameters, {macs:.0f} % of the FLOPs"
    logger.info("%s: %.1f %% of the prunable channels are gone", size, removed)
    if less := shortfall(request, report):
        logger.warning("%s", less)


def run(params: Params, percent: int) -> None:
    """Write models/prune/<percent>."""
    params = ranked(params)
    test, sparse = eval_set(params, "test"), load_model(MODELS / "sparse" / "model.safetensors")
    rounds = prune_in_rounds(params, percent, sparse, request_of(params, percent), partial(cut_once, params))
    if not rounds.is_main:  # of the processes that share the trainings between rounds, one writes
        return
    result = rounds.result
    tell(request_of(params, percent), result.report)
    model = settled(params, result)
    found = {"cut": result.cut, "folded": result.model, "recalibrated": model}
    facts = {f"map50_{step}": validate_model(params, each, test).metrics["map50"] for step, each in found.items()}
    facts |= {
        "percent_requested": float(percent),
        "percent_effective": float(result.report["effective_percent"]),
        "certificate_max_diff": max(result.report["certificate"]["cut"]),
    }
    write_json(MODELS / "prune" / str(percent) / "report.json", result.report)
    store(model, f"prune/{percent}", facts)
    for checkpoint in rounds.checkpoints:
        checkpoint.unlink(missing_ok=True)


def main() -> None:
    """Run the stage for one model."""
    stage_of_percent(run, __doc__, "share of prunable channels to remove")
