"""Stage `sparse`: go on training under a penalty that drives the scales of dispensable channels to zero."""

import dataclasses

import numpy as np

from pipeline.common import MODELS, Training, eval_set, evaluate_model, save_results, stage, train
from yoloslim.config import Params
from yoloslim.files import atomic_path
from yoloslim.models.store import load_model
from yoloslim.pruning.selection import penalised_bns
from yoloslim.training.fit import Task
from yoloslim.training.sparsity import NEAR_ZERO, SparsityPenalty


def run(params: Params) -> None:
    """Write models/sparse, metrics/sparse.json and plots/sparse."""
    start = MODELS / "baseline" / "model.safetensors"
    model = load_model(start)
    p = params.sparse
    momentum = params.train.momentum if params.train.optimizer == "SGD" else 0.0
    layers = penalised_bns(model, params.prune.scope)
    penalty = SparsityPenalty(model, layers, p.rate, p.mode, p.beta_factor, momentum)

    def with_penalty(task: Task) -> Task:
        return dataclasses.replace(task, callbacks=(penalty,), keep="last")

    result = train(params, Training("sparse", p, (start,)), with_penalty, model)
    gammas = penalty.gammas(result.model)
    with atomic_path(MODELS / "sparse" / "gammas.npz") as temporary:
        np.savez_compressed(
            temporary,
            before=penalty.before.numpy(),
            epochs=np.arange(1, len(penalty.by_epoch) + 1),
            gammas=np.stack([g.numpy().astype(np.float16) for g in penalty.by_epoch]),
            names=np.array(penalty.layers),
            sizes=np.array([len(g) for g in penalty.split(gammas)]),
        )
    evaluation = evaluate_model(params, result.model, eval_set(params, "test"))
    near_zero = float((gammas.abs() < NEAR_ZERO).float().mean())
    save_results(params, result.model, "sparse", evaluation, {"near_zero": near_zero})


if __name__ == "__main__":
    stage(run)
