"""Pruning a detector down to a latency: the clock, the table of its layers, and what is measured in the end."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from yoloslim.choices import LatencyPlace, LatencyRuntime
from yoloslim.deploy.latency import Clock
from yoloslim.deploy.latency_table import LatencyTable, latency_table, tables_folder
from yoloslim.errors import PruneError
from yoloslim.models.detector import Detector
from yoloslim.prune_request import ChannelSelection, PruneRequest, check_by_budget
from yoloslim.pruning.certified_cut import PruneResult, prune
from yoloslim.pruning.importance import Scores

if TYPE_CHECKING:
    from yoloslim.deploy.ascend.clock import BoardClock, OnBoard

AFTERWARDS = 100
"""Turns in which the dense network and the cut one are timed in the end."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """What milliseconds are measured on, and whether they choose the channels.

    Attributes:
        runtime: by name; `ascend` is a device.
        threads: CPU threads of a runtime.
        selection: how channels are chosen, see `prune`.
        table: of layers' latencies, to take instead of measuring; for selection `latency`.
        board: the device, for runtime `ascend`.
    """

    runtime: LatencyPlace = "onnxruntime"
    threads: int = 1
    selection: ChannelSelection = "percent"
    table: Path | None = None
    board: "OnBoard | None" = None

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            PruneError: runtime `ascend` without a device, or with selection `latency`.
        """
        if self.runtime != "ascend":
            return
        if self.board is None:
            raise PruneError("runtime ascend needs a device: name one (ascend.target, or --board ssh://user@host)")
        if self.selection == "latency":
            raise PruneError(
                "selection latency times each layer at each width, which a device behind a compiler cannot do in "
                "reasonable time; take selection percent with target_latency_ms or target_speedup there"
            )


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
        DeployError: the runtime is not installed; no ATC, or no way to the device.
        PruneError: the request cannot be met, or the table is of another machine or network.
    """
    by_latency = timing.selection == "latency"
    given: dict[str, Any] = {"selection": timing.selection, "tolerance": tolerance, "scores": scores}
    if not by_latency and request.target_latency_ms is None and request.target_speedup is None:
        return prune(model, request, images, layer_costs=layer_costs, **given)
    check_by_budget(timing.selection, vars(request))  # before anything is timed
    runtime, threads = timing.runtime, timing.threads
    table: LatencyTable | None = None
    if by_latency and runtime != "ascend":
        table = latency_table(model, threads, cache=tables_folder(), runtime=runtime, given=timing.table)
    clock = _clock(model, timing)

    def measure(cut: nn.Module) -> float:
        return clock(cast(Detector, cut))

    result = prune(
        model,
        request,
        images,
        layer_costs=layer_costs,
        measure_ms=measure,
        layer_ms=table.layer_ms if table else None,
        **given,
    )
    speedup = clock.speedup(result.model, AFTERWARDS)
    result.report.update(latency_ms_dense=clock.dense_ms, latency_ms=clock.dense_ms / speedup, speedup=speedup)
    found: dict[str, Any] = dict(clock.machine) | result.report.get("latency", {})
    if table:
        found |= {"table": str(table.file), "measuring_s": table.seconds}
    result.report["latency"] = found
    return result


def _clock(dense: Detector, timing: Timing) -> "Clock | BoardClock":
    if timing.board is None:
        return Clock(dense, cast(LatencyRuntime, timing.runtime), timing.threads)
    from yoloslim.deploy.ascend.clock import BoardClock

    return BoardClock(dense, timing.board)


def about_time(report: dict[str, Any]) -> str:
    """What a report says of the time that a cut saves, in words; empty where none was measured."""
    if "speedup" not in report:
        return ""
    found = report["latency"]
    words = f"{report['latency_ms_dense']:.2f} -> {report['latency_ms']:.2f} ms, {report['speedup']:.2f} times as fast"
    where = f"{found['runtime']} {found['version']}".rstrip()
    where += f", threads: {found['threads']}" if found["threads"] else f", on {found['processor']}"
    words += f", measured in turn ({where})"
    if "target_ms" not in found:
        return words
    over = 100 * (report["latency_ms"] / found["target_ms"] - 1)
    words += f"; budget {found['target_ms']:.2f} ms, {abs(over):.1f} % {'above' if over > 0 else 'below'} it"
    return words + f"; the table alone predicted {found['predicted_ms']:.2f} ms"
