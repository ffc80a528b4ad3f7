"""Pruning a detector down to a latency: the clock, the table of its layers, and what is measured in the end."""

import dataclasses
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from yoloslim.choices import LatencyRuntime
from yoloslim.deploy.latency import Clock
from yoloslim.deploy.latency_table import LatencyTable, latency_table, tables_folder
from yoloslim.models.detector import Detector
from yoloslim.prune_request import ChannelSelection, PruneRequest, check_by_latency
from yoloslim.pruning.certified_cut import PruneResult, prune
from yoloslim.pruning.importance import Scores

AFTERWARDS = 100
"""Turns in which the dense network and the cut one are timed in the end."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """What milliseconds are measured on, and whether they choose the channels.

    Attributes:
        runtime: by name.
        threads: its CPU threads.
        selection: `percent`, one threshold over all layers, or `latency`, see `select_by_latency`.
        table: of layers' latencies, to take instead of measuring; for selection `latency`.
    """

    runtime: LatencyRuntime = "onnxruntime"
    threads: int = 1
    selection: ChannelSelection = "percent"
    table: Path | None = None


def timed_prune(
    model: Detector,
    request: PruneRequest,
    timing: Timing,
    images: Tensor | None = None,
    *,
    tolerance: float = 1e-4,
    scores: Scores | None = None,
    layer_costs: dict[str, float] | None = None,
) -> PruneResult[Detector]:
    """As `prune`, with a clock where milliseconds are asked for.

    The report has, besides: `latency_ms_dense`, `latency_ms` and `speedup` of the cut network, timed in turn when all
    was done; and in `latency` the `runtime`, its `version`, `threads`, `processor`, and of selection `latency` how the
    channels were found (see `select_by_latency`), the file of the `table` and `measuring_s`, 0 where it was there.

    Raises:
        DeployError: the runtime is not installed.
        PruneError: the request cannot be met, or the table is of another machine or network.
    """
    by_latency = timing.selection == "latency"
    if by_latency:
        check_by_latency(vars(request))
    if not by_latency and request.target_latency_ms is None and request.target_speedup is None:
        return prune(model, request, images, tolerance=tolerance, scores=scores, layer_costs=layer_costs)
    runtime, threads = timing.runtime, timing.threads
    table: LatencyTable | None = None
    if by_latency:
        table = latency_table(model, threads, cache=tables_folder(), runtime=runtime, given=timing.table)
    clock = Clock(model, runtime, threads)

    def measure(cut: nn.Module) -> float:
        return clock(cast(Detector, cut))

    result = prune(
        model,
        request,
        images,
        tolerance=tolerance,
        scores=scores,
        layer_costs=layer_costs,
        measure_ms=measure,
        layer_ms=table.layer_ms if table else None,
    )
    speedup = clock.speedup(result.model, AFTERWARDS)
    result.report.update(latency_ms_dense=clock.dense_ms, latency_ms=clock.dense_ms / speedup, speedup=speedup)
    found: dict[str, Any] = dict(clock.machine) | result.report.get("latency", {})
    if table:
        found |= {"table": str(table.file), "measuring_s": table.seconds}
    result.report["latency"] = found
    return result


def about_time(report: dict[str, Any]) -> str:
    """What a report says of the time that a cut saves, in words; empty where none was measured."""
    if "speedup" not in report:
        return ""
    found = report["latency"]
    words = f"{report['latency_ms_dense']:.2f} -> {report['latency_ms']:.2f} ms, {report['speedup']:.2f} times as fast"
    words += f", measured in turn ({found['runtime']} {found['version']}, threads: {found['threads']})"
    if "target_ms" not in found:
        return words
    over = 100 * (report["latency_ms"] / found["target_ms"] - 1)
    words += f"; budget {found['target_ms']:.2f} ms, {abs(over):.1f} % {'above' if over > 0 else 'below'} it"
    return words + f"; the table alone predicted {found['predicted_ms']:.2f} ms"
