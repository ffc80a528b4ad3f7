"""Stage `sparse`: go on training under a penalty that drives the scales of dispensable channels to zero."""

import logging

import numpy as np

from yoloslim.config import Params
from yoloslim.files import atomic_path, read_json
from yoloslim.models.store import load_model
from yoloslim.pruning.forecast import NEAR_ZERO, verdict
from yoloslim.pruning.selection import penalised_bns
from yoloslim.stages.common import MODELS, stage
from yoloslim.stages.training import Training, train
from yoloslim.training.fit import Fit
from yoloslim.training.foresight import Foresight
from yoloslim.training.sparsity import Collapse, SparsityPenalty

logger = logging.getLogger("yoloslim")


def run(params: Params) -> None:
    """Write models/sparse and plots/sparse."""
    start = MODELS / "baseline" / "model.safetensors"
    model = load_model(start)
    p = params.sparse
    momentum = p.momentum if p.optimizer == "SGD" else 0.0
    history = read_json(start.with_name("history.json"))
    floor = history["epochs"][history["kept_epoch"] - 1]["map50"] * (1 - p.max_collapse)
    layers = penalised_bns(model, params.prune.scope)
    penalty = SparsityPenalty(model, layers, p.rate, p.mode, p.beta_factor, momentum, Collapse(floor))
    foresight = Foresight(penalty, p, params.train.schedule, max(params.percents, default=50))

    def save_gammas(result: Fit) -> dict[str, float]:
        gammas = penalty.gammas(result.model)
        logger.info("%s", verdict(gammas.numpy()).text)
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

    training = Training("sparse", p, (start,), tuple(layers), (penalty, foresight), True, p.recalibrate_images)
    train(params, training, model, save_gammas)


def main() -> None:
    """Run the stage."""
    stage(run)
