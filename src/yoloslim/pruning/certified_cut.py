"""Prune a detector in one call: couple, select, cut, fold, certify, report."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

import torch
from torch import nn

from yoloslim.errors import PruneError, YoloslimError
from yoloslim.prune_request import ChannelSelection, PruneRequest, check_by_budget
from yoloslim.pruning.activation import activation_scores
from yoloslim.pruning.budget import LayerCost
from yoloslim.pruning.certificate import Certificate, certify
from yoloslim.pruning.coupling import BoolArray, find_coupling
from yoloslim.pruning.flops_selection import select_by_flops
from yoloslim.pruning.importance import Scores
from yoloslim.pruning.inputs import Example, Inputs
from yoloslim.pruning.latency_selection import select_by_latency
from yoloslim.pruning.normalise import ranking_scores
from yoloslim.pruning.programme import GAP, SECONDS
from yoloslim.pruning.prune_report import count_totals, prune_report
from yoloslim.pruning.selection import Selection, select_channels
from yoloslim.pruning.surgery import M, cut
from yoloslim.pruning.units import remove_units

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PruneResult(Generic[M]):
    """What `prune` made.

    Attributes:
        model: the pruned network (folded if asked for, residual units removed).
        cut: the same without folding, to see what folding is worth.
        selection: which channel groups stayed.
        certificate: the proof that the cut is exact.
        report: plain values; see `prune_report`, plus `importance`, `normalise`, `group_score`, `cost_power`,
            `removed_units` and `certificate`, and `flops` or `latency` where channels were chosen by them.
    """

    model: M
    cut: M
    selection: Selection
    certificate: Certificate
    report: dict[str, Any]


def prune(
    model: M,
    request: PruneRequest,
    images: Example | Inputs | None = None,
    *,
    tolerance: float = 1e-4,
    scores: Scores | None = None,
    layer_costs: dict[str, float] | None = None,
    measure_ms: Callable[[nn.Module], float] | None = None,
    selection: ChannelSelection = "percent",
    layer_ms: LayerCost | None = None,
    example: Example | Inputs = (2, 3, 64, 64),
) -> PruneResult[M]:
    """Prune a network; the input is unchanged.

    Args:
        model: a `Detector`, or any network that can be traced.
        request: what should go.
        images: real inputs, such as images (N, 3, H, W) in [0, 1], for the certificate, besides random ones.
        tolerance: largest |difference| between cut and masked model that passes.
        scores: importance per layer and channel; needed for importance `taylor` (see `taylor_scores`), and for
            `activation` where there are no `images`, which it takes otherwise.
        layer_costs: module path -> cost, for `cost_power`; by default MACs.
        measure_ms: milliseconds of a cut network on the target, for `target_latency_ms` and `target_speedup`.
        selection: `percent`, one threshold over all layers; `flops`, see `select_by_flops`; or `latency`, see
            `select_by_latency`, for which `measure_ms` and `layer_ms` are needed.
        layer_ms: milliseconds of a convolution by its widths.
        example: inputs that the network accepts, or the shape (N, C, H, W) of one.

    Raises:
        TraceError: an operation of the network is not understood.
        PruneError: the request cannot be met, `measure_ms` or `layer_ms` gives no time, or the certificate fails.
    """
    check_by_budget(selection, vars(request))
    if selection == "latency" and not (layer_ms and measure_ms):
        raise PruneError("selection latency needs layer_ms and measure_ms, milliseconds of a layer and a network")
    coupling = find_coupling(model, example)
    if scores is None and request.importance == "activation" and images is not None:
        scores = activation_scores(model, coupling, [images])

    def measure(keep: BoolArray) -> float:
        assert measure_ms is not None
        return _milliseconds("measure_ms", measure_ms, cut(model, coupling, keep))

    def time_of(path: str, c_in: int, c_out: int) -> float:
        assert layer_ms is not None
        return _milliseconds("layer_ms", layer_ms, path, c_in, c_out)

    budget: dict[str, Any] = {}
    with torch.no_grad():
        if selection == "percent":
            timer = measure if measure_ms else None
            chosen = select_channels(model, coupling, request, scores=scores, layer_costs=layer_costs, measure=timer)
        else:
            ranked = ranking_scores(model, coupling, request, scores)
            if selection == "latency":
                chosen, budget = select_by_latency(model, coupling, request, ranked, time_of, measure)
            else:
                chosen, budget = select_by_flops(model, coupling, request, ranked)
        certificate = certify(model, coupling, chosen.keep, images, tolerance=tolerance)
        plain = cut(model, coupling, chosen.keep)
        final = cut(model, coupling, chosen.keep, fold=True) if request.fold else plain
        removed: list[str] = []
        if request.residual_units:
            plain, _ = remove_units(plain, request.residual_units, example)
            final, removed = remove_units(final, request.residual_units, example)
    report = prune_report(model, coupling, chosen, request.imgsz)
    if removed:
        report["after"] = count_totals(final, request.imgsz, example)
    report |= {"removed_units": removed, "certificate": certificate.as_dict()}
    report["importance"] = getattr(request.importance, "__name__", request.importance)
    report |= {name: getattr(request, name) for name in ("normalise", "group_score", "cost_power")}
    if budget:
        report[selection] = budget
        if budget["gap"] > 2 * GAP:
            logger.warning(
                "%d s were too few for the widths that lose least: at best, %.1f %% less could be lost, and another "
                "run may find other widths; a larger round_to makes it easier",
                SECONDS,
                100 * budget["gap"],
            )
    return PruneResult(final, plain, chosen, certificate, report)


def _milliseconds(name: str, clock: Callable[..., float], *of: Any) -> float:
    """What a function of the user's measures, if it can be meant."""
    try:
        value = float(found := clock(*of))
    except YoloslimError:
        raise
    except Exception as error:
        raise PruneError(f"{name} fails: {type(error).__name__}: {error}") from error
    if not 0 < value < float("inf"):
        raise PruneError(f"{name} gives {found}; it must give milliseconds, above 0")
    return value
