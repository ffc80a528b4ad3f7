"""Prune any network, as people ask for it: options by name, defaults that suit the network, what did not go is said."""

import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, TypedDict, Unpack, get_args

from torch import nn

from yoloslim.errors import OutOfReachError, PruneError
from yoloslim.models.detector import Detector, count_params
from yoloslim.nearest import check_name
from yoloslim.prune_request import (
    TARGETS,
    ChannelSelection,
    GroupScore,
    Normalise,
    PruneRequest,
    Scope,
    Scorer,
    check_typed,
)
from yoloslim.pruning.budget import LayerCost
from yoloslim.pruning.certified_cut import PruneResult
from yoloslim.pruning.certified_cut import prune as prune_network
from yoloslim.pruning.inputs import Example, Inputs
from yoloslim.pruning.operations import BATCHNORMS, CONVOLUTIONS, TRANSPOSED
from yoloslim.pruning.prune_report import lagging, shortfall
from yoloslim.pruning.surgery import M

logger = logging.getLogger(__name__)

_ONE_AT_A_TIME = threading.RLock()
"""Tracing swaps functions of PyTorch for a moment, masks hang on the network: threads would see each other's."""


class PruneOptions(TypedDict, total=False):
    """Fields of `PruneRequest`, which states what each means, its range and its default."""

    percent: float
    target_params_m: float
    target_gflops: float
    target_latency_ms: float
    target_speedup: float
    scope: Scope
    importance: str | Scorer
    normalise: Normalise
    group_score: GroupScore
    min_channels: int
    layer_keep: float
    round_to: int
    cost_power: float
    residual_units: int
    fold: bool
    ignored_layers: Sequence[str]
    layer_percents: Mapping[str, float]
    imgsz: int | None
    seed: int


def prune(
    model: M,
    example_inputs: Example | None = None,
    *,
    selection: ChannelSelection = "percent",
    measure_ms: Callable[[nn.Module], float] | None = None,
    layer_ms: LayerCost | None = None,
    **options: Unpack[PruneOptions],
) -> PruneResult[M]:
    """Cut channels out of a network; the input is unchanged.

    Args:
        model: a detector, or any network whose operations are known (`register_op` adds to them). It is run on the
            example to see what it does, which must not depend on the values.
        example_inputs: what its forward takes: a tensor (N, ...) of any number of axes and channels, several of them
            in a tuple, or by name in a dict. Detectors need none.
        selection: how channels are chosen: `percent` by one threshold over all layers; `flops` and `latency` are the
            widths that lose least within `target_gflops`, or `target_latency_ms` or `target_speedup`; a percent is one
            of the FLOPs, or of the time, then.
        measure_ms: milliseconds of a cut network on the target, for these two targets and selection `latency`.
        layer_ms: for selection `latency`: path of a convolution, channels in and out -> its milliseconds there.
        options: fields of `PruneRequest`. What differs from its defaults where nothing is said: scope `coupled`;
            importance `l2` for a network in which not every convolution has a BatchNorm scale to go by, or whose
            scales are all alike, as before training; `round_to` 8, 4, 2 or 1 for a network that is too narrow
            for multiples of 16; FLOPs counted at the size of the example, or at a detector's own.

    Returns:
        `model` the new network, `certificate` (cut against masked, largest differences), `report` (plain values).

    Raises:
        TraceError: the forward depends on values, or an operation is not understood; the node is named.
        PruneError: an option is unknown or out of range, nothing can be pruned, a target is out of reach, or the
            certificate fails.
    """
    _check_module(model)
    for name in options:
        check_name("option of prune", name, PruneOptions.__annotations__, PruneError)
    check_typed(options)
    _check_selection(selection, measure_ms, layer_ms, options)
    if example_inputs is None and not isinstance(model, Detector):
        raise PruneError(f"a {type(model).__name__} needs example_inputs: what its forward takes, a tensor or several")
    given = None if example_inputs is None else Inputs.of(example_inputs)
    side = model.spec.imgsz if isinstance(model, Detector) else None
    chosen: dict[str, Any] = {"importance": _importance(model), "imgsz": side, **options}
    request = PruneRequest(**chosen)
    chosen_by: dict[str, Any] = {"selection": selection, "measure_ms": measure_ms, "layer_ms": layer_ms}
    with _ONE_AT_A_TIME:
        while (result := _cut(model, request, given, chosen_by, "round_to" in options)) is None:
            request = dataclasses.replace(request, round_to=request.round_to // 2)
    result.report["round_to"] = request.round_to
    if not isinstance(model, Detector):  # folding may have given layers a bias
        parameters = count_params(result.model)
        result.report["after"] |= {"params": parameters, "params_m": parameters / 1e6}
    if less := shortfall(request, result.report):
        logger.warning("%.1f %% of prunable channels removed: %s", result.report["effective_percent"], less)
    return result


def _cut(
    model: M, request: PruneRequest, given: Inputs | None, chosen_by: dict[str, Any], exactly: bool
) -> PruneResult[M] | None:
    """The cut network; None where rounding may be what keeps channels, and widths need not be such multiples.

    Multiples of detectors are those that boards like; nobody has asked for any other network's.
    """
    free = not exactly and request.round_to > 1 and not isinstance(model, Detector)
    example = (2, 3, 64, 64) if given is None else given
    try:
        result = prune_network(model, request, given, example=example, **chosen_by)
    except OutOfReachError:
        if free:
            return None
        raise
    if chosen_by["selection"] != "percent" or any(getattr(request, name) is not None for name in TARGETS):
        return result
    too_few = not request.layer_percents and result.report["effective_percent"] < request.percent - 1
    return None if free and (too_few or lagging(request, result.report)) else result


def _check_selection(
    selection: str,
    measure_ms: Callable[[nn.Module], float] | None,
    layer_ms: LayerCost | None,
    options: Mapping[str, Any],
) -> None:
    """Refuse a selection that does not exist, and clocks that nothing would look at."""
    check_name("selection", selection, get_args(ChannelSelection), PruneError)
    by_time = options.get("target_latency_ms") is not None or options.get("target_speedup") is not None
    if measure_ms and not by_time and selection != "latency":
        raise PruneError(
            "measure_ms measures for target_latency_ms, target_speedup or selection='latency', and none is given"
        )
    if layer_ms and selection != "latency":
        raise PruneError(f"layer_ms is for selection='latency', and this one is '{selection}'")


def _check_module(model: object) -> None:
    if isinstance(model, str | PathLike):
        raise PruneError(f"model is {str(model)!r}; give a network: yoloslim.load(file) or build(name, classes)")
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise PruneError(f"model is the class {model.__name__}; give a network of it: {model.__name__}(...)")
    if not isinstance(model, nn.Module):
        raise PruneError(f"model is a {type(model).__name__}; give a torch.nn.Module")


def _importance(model: nn.Module) -> str:
    """`gamma` where there are as many scales as layers with prunable outputs, and training has told them apart."""
    norms = [m for m in model.modules() if isinstance(m, BATCHNORMS) and m.affine]
    layers = sum(isinstance(m, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)) for m in model.modules())
    enough = isinstance(model, Detector) or len(norms) >= max(1, layers - 1)
    told = any(bool((norm.weight != norm.weight.flatten()[0]).any()) for norm in norms)
    return "gamma" if enough and told else "l2"
