"""Stage `sparse`: go on training under a penalty that drives the scales of dispensable channels to zero."""

import logging
import math

import numpy as np
from numpy.typing import NDArray

from pipeline.common import MODELS, split_of, stage
from pipeline.training import Training, train
from yoloslim.config import Params
from yoloslim.files import atomic_path, read_json
from yoloslim.models.store import load_model
from yoloslim.pruning.forecast import NEAR_ZERO, forecast, travel, verdict
from yoloslim.pruning.selection import penalised_bns
from yoloslim.training.fit import Fit
from yoloslim.training.memory import usual_batch
from yoloslim.training.optim import learning_rates
from yoloslim.training.sparsity import Collapse, SparsityPenalty, decayed

logger = logging.getLogger("yoloslim")


def say_forecast(params: Params, gammas: NDArray[np.float32], momentum: float) -> None:
    """Log what the penalty can reach, before hours are spent on finding out."""
    p, t = params.sparse, params.train
    images = len(split_of("train").ids)
    steps = math.ceil(images / (t.batch or usual_batch(images)))
    lrs = list(learning_rates(p, steps, t.schedule))
    rates = [decayed(p.rate, i // steps, p.epochs) for i in range(len(lrs))]
    distance = travel(lrs, rates, optimizer=p.optimizer.lower(), mode=p.mode, momentum=momentum)  # type: ignore[arg-type]
    logger.info("forecast: %s", forecast(gammas, distance, p.rate, max(params.percents, default=50)).text)


def run(params: Params) -> None:
    """Write models/sparse, metrics/sparse.json and plots/sparse."""
    start = MODELS / "baseline" / "model.safetensors"
    model = load_model(start)
    p = params.sparse
    momentum = p.momentum if p.optimizer == "SGD" else 0.0
    history = read_json(start.with_name("history.json"))
    floor = history["epochs"][history["kept_epoch"] - 1]["map50"] * (1 - p.max_collapse)
    layers = penalised_bns(model, params.prune.scope)
    penalty = SparsityPenalty(model, layers, p.rate, p.mode, p.beta_factor, momentum, Collapse(floor))
    say_forecast(params, penalty.before.numpy(), momentum)

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

    training = Training("sparse", p, (start,), tuple(layers), (penalty,), True, p.recalibrate_images)
    train(params, training, model, save_gammas)


if __name__ == "__main__":
    stage(run)
