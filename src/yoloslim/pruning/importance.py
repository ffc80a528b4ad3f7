"""How much each channel matters: one score per channel of each scored layer."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from yoloslim.cores import thread_count
from yoloslim.errors import PruneError
from yoloslim.prune_request import Scorer, scorer_of
from yoloslim.pruning.coupling import Coupling
from yoloslim.pruning.filters import outputs_first
from yoloslim.pruning.union import FILTERS

Scores = dict[str, NDArray[np.float32]]
"""Module path -> (channels,) scores >= 0, the same order as the layer's output coupling."""


def channel_scores(
    model: nn.Module,
    coupling: Coupling,
    importance: str | Scorer = "gamma",
    *,
    seed: int = 0,
) -> Scores:
    """Score channels where they leave a layer.

    Args:
        model: the network that was traced.
        coupling: of its channels.
        importance: `gamma` |BN scale| (Network Slimming, arXiv 1708.06519); `l1`, `l2` mean |weight| and root
            mean square weight of the filter (arXiv 1608.08710, per weight so that layers compare); `random`, a control;
            or a function, or the name of one (`register_importance`). Those that look at data have functions of their
            own: `taylor_scores`, `activation_scores`.
        seed: of `random`.

    Raises:
        PruneError: a score is NaN or infinite (named with its layer), the importance needs data, there is nothing that
            `gamma` could score, or a function gives no scores for the outputs of a layer.
    """
    scorer = scorer_of(importance)
    if scorer is not None:
        return {path: _scored(scorer, path, model, coupling) for path in _filters(coupling)}
    match importance:
        case "gamma":
            scores = {path: _parameter(model, path).abs() for path in _scaled_norms(model, coupling)}
        case "l1" | "l2":
            norm = 1 if importance == "l1" else 2
            scores = {path: _weight_norm(_filter_weight(model, path), norm) for path in _filters(coupling)}
        case "random":
            rng = torch.Generator().manual_seed(seed)
            sizes = {path: len(coupling.layers[path].outputs) for path in scored_layers(model, coupling)}
            scores = {path: torch.rand(n, generator=rng) for path, n in sizes.items()}
        case "taylor":
            raise PruneError(
                "importance 'taylor' needs gradients: collect scores with taylor_scores, and give them as scores= to "
                "yoloslim.pruning.certified_cut.prune"
            )
        case "activation":
            raise PruneError(
                "importance 'activation' needs inputs: give example_inputs, or scores of activation_scores"
            )
    if not scores and not _filters(coupling):
        raise PruneError("no layer of this network has channels that could be scored: there is nothing to prune")
    if not scores:
        raise PruneError(f"importance '{importance}' goes by BatchNorm scales, and this network has none; use 'l2'")
    found = {path: values.detach().float().cpu().numpy() for path, values in scores.items()}
    refuse_not_finite(found, str(importance))
    return found


def refuse_not_finite(scores: Scores, importance: str) -> None:
    """Stop where a score is none.

    Raises:
        PruneError: NaN or infinite, named with its layer.
    """
    for path, values in scores.items():
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            raise PruneError(
                f"layer '{path}': {bad} of {len(values)} {importance} scores are NaN or infinite; training has "
                "diverged: lower lr0 or the sparsity rate and train again"
            )


def _scored(scorer: Scorer, path: str, model: nn.Module, coupling: Coupling) -> NDArray[np.float32]:
    """What a function of the user's gives for a layer, if that can be meant."""
    name, wanted = getattr(scorer, "__name__", type(scorer).__name__), len(coupling.layers[path].outputs)
    try:
        given = scorer(path, model.get_submodule(path))
        if given is None:
            raise PruneError(f"layer '{path}': importance {name} returns nothing; it must give {wanted} scores")
        values = torch.as_tensor(given).detach().float().cpu().numpy()
    except PruneError:
        raise
    except Exception as error:
        raise PruneError(f"layer '{path}': importance {name} fails: {type(error).__name__}: {error}") from error
    if values.shape != (wanted,):
        raise PruneError(
            f"layer '{path}': importance {name} gives shape {values.shape}; it must give one score for each of the "
            f"{wanted} outputs, ({wanted},)"
        )
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        raise PruneError(
            f"layer '{path}': importance {name} gives {values[bad][0]:g} for output {int(np.flatnonzero(bad)[0])} (and "
            f"{int(bad.sum()) - 1} others like it); scores must be finite and at least 0"
        )
    return np.asarray(values)


def taylor_scores(
    model: nn.Module,
    coupling: Coupling,
    batches: Iterable[Any],
    loss_fn: Callable[[nn.Module, Any], Tensor],
) -> Scores:
    """First-order Taylor importance |gamma * dL/dgamma| of BatchNorm scales (arXiv 1906.10771, gate form).

    As many batches at a time as there are threads, each by one: the same scores for any number of them.

    Args:
        model: left as it was; each batch has a copy of it.
        coupling: of its channels.
        batches: a few batches, in whatever form `loss_fn` takes.
        loss_fn: (model, batch) -> scalar loss of the model that it is given; called from several threads at once.

    Raises:
        PruneError: the loss depends on no scale of the model that it is given.
    """
    paths = _scaled_norms(model, coupling)
    total = {path: torch.zeros_like(cast(nn.BatchNorm2d, model.get_submodule(path)).weight) for path in paths}
    threads, todo = thread_count(0, "threads"), iter(batches)
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        while some := list(islice(todo, threads)):
            for found in pool.map(partial(_taylor, model, paths, loss_fn), some):
                for path, values in found.items():
                    total[path] += values
    return {path: values.detach().float().cpu().numpy() for path, values in total.items()}


def _taylor(
    model: nn.Module, paths: Sequence[str], loss_fn: Callable[[nn.Module, Any], Tensor], batch: Any
) -> dict[str, Tensor]:
    own = copy.deepcopy(model).eval()
    gammas = {path: cast(nn.BatchNorm2d, own.get_submodule(path)).weight.requires_grad_() for path in paths}
    gradients = torch.autograd.grad(loss_fn(own, batch), list(gammas.values()), allow_unused=True)
    pairs = zip(gammas.items(), gradients, strict=True)
    found = {path: (gamma * slope).abs().detach() for (path, gamma), slope in pairs if slope is not None}
    if paths and not found:
        raise PruneError("the loss depends on no scale of the model that loss_fn is given; compute it from that model")
    return found


def group_costs(coupling: Coupling, layer_costs: Mapping[str, float]) -> NDArray[np.float64]:
    """What one channel of each group costs, as (groups,) relative to the mean of all.

    Args:
        coupling: of its channels.
        layer_costs: module path -> cost of the whole layer, in any unit: MACs, or measured milliseconds.
    """
    costs = np.zeros(coupling.groups)
    for path, cost in layer_costs.items():
        layer = coupling.layers[path]
        sides = [layer.outputs] if layer.kind == "depthwise" else [layer.inputs, layer.outputs]
        for side in sides:
            np.add.at(costs, side, cost / len(side))
    free = costs[~coupling.protected]
    return costs / free.mean() if free.size and free.mean() > 0 else np.ones(coupling.groups)


def scored_layers(model: nn.Module, coupling: Coupling) -> list[str]:
    """Where channels are scored that have no weights to go by: behind each BatchNorm, or each filter without any."""
    return _scaled_norms(model, coupling) or _filters(coupling)


def _scaled_norms(model: nn.Module, coupling: Coupling) -> list[str]:
    return [p for p in coupling.batchnorms if cast(nn.BatchNorm2d, model.get_submodule(p)).affine]


def _filters(coupling: Coupling) -> list[str]:
    return [p for p, layer in coupling.layers.items() if layer.kind in FILTERS]


def _parameter(model: nn.Module, path: str) -> Tensor:
    return cast(Tensor, model.get_submodule(path).weight)


def _filter_weight(model: nn.Module, path: str) -> Tensor:
    return outputs_first(model.get_submodule(path))


def _weight_norm(weight: Tensor, order: int) -> Tensor:
    return weight.flatten(1).abs().pow(order).mean(1).pow(1 / order)
