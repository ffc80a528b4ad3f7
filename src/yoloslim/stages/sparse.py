"""Stage `sparse`: go on training under a penalty that drives what belongs to dispensable channels to zero.

With `sparse.penalty: none` nothing is trained: the baseline is handed on as it is.
"""

import logging
import shutil
from pathlib import Path

import numpy as np

from yoloslim.config import Params
from yoloslim.files import atomic_path, read_json
from yoloslim.models.store import load_model
from yoloslim.pruning.forecast import NEAR_ZERO, prunability
from yoloslim.stages.common import MODELS, stage
from yoloslim.stages.training import Training, train, write_untrained
from yoloslim.training.callback import Callback
from yoloslim.training.fit import Fit
from yoloslim.training.penalties import PENALTIES
from yoloslim.training.sparsity import Collapse
from yoloslim.training.sparsity_forecast import SparsityForecast

logger = logging.getLogger("yoloslim")


def run(params: Params) -> None:
    """Write models/sparse and plots/sparse."""
    start = MODELS / "baseline" / "model.safetensors"
    if params.sparse.penalty == "none":
        hand_on(start)
        return
    model = load_model(start)
    p = params.sparse
    history = read_json(start.with_name("history.json"))
    kept = history["kept_epoch"]
    floor = (history["epochs"][kept - 1] if kept else history["start"])["map50"] * (1 - p.max_collapse)
    penalty = PENALTIES[p.penalty](model, params.prune.scope, p, Collapse(floor))
    riders: tuple[Callback, ...] = (penalty,)
    if p.penalty == "slimming":
        riders += (SparsityForecast(penalty, p, params.train.schedule, max(params.percents, default=50)),)
    else:
        logger.info("no forecast: only what slimming can reach is known before training")

    def save_gammas(result: Fit) -> dict[str, float]:
        gammas = penalty.gammas(result.model)
        judged = prunability(gammas.numpy())
        logger.info("%s", "; ".join(filter(None, (judged.text, judged.advice))))
        with atomic_path(MODELS / "sparse" / "gammas.npz") as temporary:
            np.savez_compressed(
                temporary,
                before=penalty.before.numpy(),
                epochs=np.arange(1, len(penalty.by_epoch) + 1),
                gammas=np.stack([g.numpy().astype(np.float16) for g in penalty.by_epoch]),
                names=np.array(penalty.layers),
                sizes=np.array([len(g) for g in penalty.split(gammas)]),
            )
        return {"near_zero": float((gammas.abs() < NEAR_ZERO).float().mean())}

    training = Training("sparse", p, (start,), penalty.layers, riders, True, p.recalibrate_images)
    train(params, training, model, save_gammas)


def hand_on(start: Path) -> None:
    """Make the baseline, byte for byte, what is cut; the history says that there was no training."""
    load_model(start)  # a damaged file is told here, and not by a later stage
    with atomic_path(MODELS / "sparse" / "model.safetensors") as temporary:
        shutil.copyfile(start, temporary)
    write_untrained("sparse", {"penalty": "none"})
    logger.info("sparse.penalty is none: nothing is trained, the baseline itself is cut")


def main() -> None:
    """Run the stage."""
    stage(run)
