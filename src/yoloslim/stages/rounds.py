"""Pruning in rounds: a part of the channels goes, the network recovers a little, and more go, down to what was asked.

What recovery trains is taken off the finetuning, so that all models have as many epochs in all. The schedule: after
round r of n, the share (1 - percent)^(r / n) of the channels is left, or likewise of the parameters or FLOPs, so that
every round takes the same share of what the one before it left.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yoloslim.config import Params
from yoloslim.models.detector import Detector, count_macs, count_params
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.certified_cut import PruneResult
from yoloslim.stages.recovery import recover, recovery

logger = logging.getLogger("yoloslim")

Cut = Callable[[Detector, PruneRequest], PruneResult[Detector]]


@dataclass(frozen=True)
class Rounds:
    """What all rounds came to.

    Attributes:
        result: of the last round, with a report about all of them: `before`, percents and `total` channels are those of
            the network that the first round began with; `rounds` has a row for each.
        checkpoints: of the trainings between them, to remove once the model is stored: until then they cost nothing
            again.
        is_main: whether this process is the one that writes.
    """

    result: PruneResult[Detector]
    checkpoints: tuple[Path, ...]
    is_main: bool


def prune_in_rounds(params: Params, percent: int, model: Detector, request: PruneRequest, cut: Cut) -> Rounds:
    """Cut and train by turns; an interrupted run goes on where it was, given the same inputs again.

    Args:
        params: all sections; `prune.rounds` of at least 1.
        percent: what the stage is called by.
        model: where to start.
        request: what is asked for in the end.
        cut: makes one cut.

    Raises:
        OutOfReachError: a target that one cut could not meet; nothing is trained before it is known.
    """
    count, left, is_main = params.prune.rounds, 1.0, True
    dense = {"target_params_m": count_params(model) / 1e6, "target_gflops": 2e-9 * count_macs(model, params.imgsz)}
    if count > 1 and params.prune.selection == "flops" and request.target_gflops is None:
        request = replace(request, target_gflops=dense["target_gflops"] * (1 - request.percent / 100))
    to_target = any(getattr(request, name) is not None for name in dense)
    if count > 1 and to_target:
        cut(model, request)  # what is out of reach is said now, not after the trainings
    reports: list[dict[str, Any]] = []
    rows: list[dict[str, float]] = []
    checkpoints: list[Path] = []
    for number in range(1, count + 1):
        result = cut(model, request_at(request, number, count, left, dense))
        reports.append(result.report)
        left *= 1 - result.report["effective_percent"] / 100
        row = {"percent": 100 * (1 - left), "params_m": result.report["after"]["params_m"]}
        rows.append(row)
        if number < count:
            logger.info("round %d of %d: %.1f %% of the prunable channels are gone", number, count, row["percent"])
            phase = recovery(params, params.prune.round_epochs)
            logger.info("recovery for %d epochs: %s, lr0 %g", phase.epochs, phase.optimizer, phase.lr0)
            settings = (f"round {number}", params.prune.model_dump_json(), result.model.spec.model_dump_json())
            trained, checkpoint = recover(params, f"prune/{percent}", result.model, phase, settings)
            model, is_main = trained.model, trained.is_main
            row["map50"] = trained.history[-1]["map50"]
            checkpoints.append(checkpoint)
    worst = max(reports, key=lambda report: max(report["certificate"]["cut"]))["certificate"]
    asked = row["percent"] if to_target else request.percent  # as after one cut: what the search for it arrived at
    if params.prune.selection == "flops" and request.target_gflops is not None:
        asked = max(0.0, round(100 * (1 - request.target_gflops / dense["target_gflops"]), 3))
    report = _of_all(reports, row["percent"], asked) | {"certificate": worst, "rounds": rows}
    return Rounds(replace(result, report=report), tuple(checkpoints), is_main)


def request_at(request: PruneRequest, number: int, count: int, left: float, dense: dict[str, float]) -> PruneRequest:
    """What a round is to cut.

    Args:
        request: what is asked for in the end.
        number: of the round, from 1.
        count: of rounds.
        left: share of the prunable channels that the rounds before it left.
        dense: millions of parameters and GFLOPs before all rounds, by the names of their targets.
    """
    if count == 1:
        return request
    done = number / count
    changes: dict[str, Any] = {"layer_keep": request.layer_keep ** (1 / count) if request.layer_keep else 0.0}
    if number < count:
        changes["residual_units"] = 0
    for name, whole in dense.items():
        if (target := getattr(request, name)) is not None:
            changes[name] = whole * min(1.0, target / whole) ** done
            return replace(request, **changes)
    wanted = (1 - request.percent / 100) ** done
    return replace(request, percent=100 * max(0.0, 1 - wanted / left), **changes)


def _of_all(reports: list[dict[str, Any]], removed: float, asked: float) -> dict[str, Any]:
    """The last round's report, about the network that the first one began with."""
    first, last = reports[0], reports[-1]
    if len(reports) == 1:
        return last
    totals = {row["path"]: row["total"] for row in first["layers"]}
    layers = [row | {"total": totals[row["path"]]} for row in last["layers"]]
    return last | {
        "requested_percent": asked,
        "effective_percent": removed,
        "percent_limit": first["percent_limit"],
        "before": first["before"],
        "layers": layers,
    }
