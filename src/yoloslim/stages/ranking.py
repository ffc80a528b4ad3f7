"""Stage `ranking`: what channels are ranked by, where `prune.importance: auto` leaves that to the images.

No ranking is the best one everywhere, and what a network finds right after a cut does not tell which is
(docs/training-recipes.md). So the sparse model is cut to half of its FLOPs by each, or of its latency where that
chooses channels, what is left is trained for `prune.trial_steps`, and the ranking of the one that finds more on the
validation images cuts all models. To judge cuts by a short training is the idea of NetAdapt (arXiv 1804.03230).
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from yoloslim.config import Params
from yoloslim.config.recipe import AUTO
from yoloslim.errors import OutOfReachError
from yoloslim.models.detector import Detector, count_macs, count_params
from yoloslim.models.store import load_model, save_model
from yoloslim.prune_request import TARGETS, Importance, Normalise
from yoloslim.stages.common import MODELS, stage
from yoloslim.stages.inputs import prepared_split
from yoloslim.stages.measuring import write_metrics
from yoloslim.stages.prune import cut_once, request_of, settled
from yoloslim.stages.recovery import recover, recovery
from yoloslim.training.devices import choose_device
from yoloslim.training.memory import largest_choice

logger = logging.getLogger("yoloslim")

RIVALS: Mapping[Importance, Normalise] = {"taylor": "none", "gamma": "none", "l2": "mean"}
"""The rankings that are tried, with what makes scores of layers comparable where `prune.normalise` asks for nothing."""
SHARE = 0.5
"""Of the FLOPs, or of the latency, that a trial leaves."""
NOTHING = 0.0005
"""A mAP50-95 below this is shown as 0.000, and no trial that finds so little says what ranks best."""


def run(params: Params) -> None:
    """Write metrics/ranking.json: the ranking, and what the trials found."""
    if params.prune.importance != AUTO:
        settled = {"importance": params.prune.importance, "normalise": params.prune.normalise}
        write_metrics("ranking", settled)
        logger.info("%(importance)s ranks (normalise: %(normalise)s), and nothing is tried", settled)
        return
    half = "latency" if params.prune.selection == "latency" else "FLOPs"
    rivals, trials, checkpoints = made_comparable(params), {}, []
    try:
        files = cuts(params, rivals)
    except OutOfReachError as error:
        first, normalise = next(iter(rivals.items()))
        logger.warning("no trial of half the %s, %s ranks: %s", half, first, error)
        write_metrics("ranking", {"importance": first, "normalise": normalise, "why": str(error)})
        return
    phase = recovery(params, trial_epochs(params, len(prepared_split("train").ids)))
    for rival, file in files.items():
        small = load_model(file)
        size = f"{count_params(small) / 1e6:.2f} M parameters, half of the {half}"
        logger.info("trial of %s: %s; %d epochs, %s, lr0 %g", rival, size, phase.epochs, phase.optimizer, phase.lr0)
        settings = (rival, params.prune.model_dump_json(), small.spec.model_dump_json())
        trained, checkpoint = recover(params, f"ranking/{rival}", small, phase, settings)
        trials[rival] = {name: trained.history[-1][name] for name in ("map50", "map50_95")}
        checkpoints.append(checkpoint)
    if not trained.is_main:
        return
    best = max(RIVALS, key=lambda rival: trials[rival]["map50_95"])  # the first one where they find the same
    found = ", ".join(f"{rival} {trials[rival]['map50_95']:.3f}" for rival in RIVALS)
    logger.info("val mAP50-95: %s; %s ranks the channels of all percents", found, best)
    if trials[best]["map50_95"] < NOTHING:
        told = "trials that find next to nothing tell little: raise prune.trial_steps (%d), train the baseline longer, "
        told += "look whether the validation images have boxes, or name a ranking (prune.importance)"
        logger.warning(told, params.prune.trial_steps)
    write_metrics("ranking", {"importance": best, "normalise": rivals[best], "trials": trials})
    for path in (*checkpoints, *files.values()):
        path.unlink(missing_ok=True)


def trial_epochs(params: Params, images: int) -> int:
    """Whole epochs of so many images that are at least `prune.trial_steps`."""
    t = params.train
    batch = t.batch or largest_choice(images, choose_device(t.device), t.devices)
    return -(-params.prune.trial_steps // -(-images // batch))


def made_comparable(params: Params) -> dict[Importance, Normalise]:
    """The rivals, each with what makes its scores of layers comparable."""
    asked = params.prune.normalise
    return {rival: usual if asked == "none" else asked for rival, usual in RIVALS.items()}


def cuts(params: Params, rivals: Mapping[Importance, Normalise]) -> dict[Importance, Path]:
    """Files of what each rival leaves, made once.

    A cut by measured time is another one the next time, and the processes that share a training, or go on with one that
    was interrupted, must have the same.

    Raises:
        OutOfReachError, PruneError: see `cut_by`.
    """
    from yoloslim.stages.training import (
        Training,
        checkpoint_key,
    )  # loads Lightning, which a named ranking has no use for

    sparse = MODELS / "sparse" / "model.safetensors"
    settings = (params.prune.model_dump_json(), f"{params.evaluation.threads} threads")
    key = checkpoint_key(params, Training("ranking", recovery(params, 1), (sparse,), settings))
    stem = Path(params.train.cache_dir) / "checkpoints" / key
    files = {rival: stem.with_suffix(f".{rival}.safetensors") for rival in rivals}
    stem.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(stem.with_name("ranking.lock")):
        for rival, file in files.items():
            if not file.is_file():
                save_model(cut_by(params, load_model(sparse), rival, rivals[rival]), file)
    return files


def cut_by(params: Params, model: Detector, rival: Importance, normalise: Normalise) -> Detector:
    """The network that a ranking leaves of half the FLOPs, or of half the latency where that chooses channels.

    Raises:
        OutOfReachError: what every layer keeps at least is more.
        PruneError: the cut is not exact.
    """
    p = params.prune
    changed = dict.fromkeys(TARGETS) | {"importance": rival, "normalise": normalise, "residual_units": 0}
    if p.selection == "latency":
        changed["target_speedup"] = 1 / SHARE
    else:
        changed["target_gflops"] = SHARE * 2e-9 * count_macs(model, params.imgsz)
        if p.cost != "latency":
            changed["latency_runtime"] = "onnxruntime"  # of a target's time nothing is measured here
    trial = params.model_copy(update={"prune": p.model_copy(update=changed)})
    return settled(trial, cut_once(trial, model, request_of(trial, 0)))


def main() -> None:
    """Run the stage."""
    stage(run)
