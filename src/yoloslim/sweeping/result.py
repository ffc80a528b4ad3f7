"""What a sweep found, as the file metrics/sweep.json."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from yoloslim.config import Params
from yoloslim.config.results import SweepPoint, SweepResult
from yoloslim.config.sweep import Status
from yoloslim.sweeping.search import Measured, Metrics
from yoloslim.sweeping.space import Variant, combinations, describe
from yoloslim.sweeping.verdict import judge


@dataclass(frozen=True)
class TriedPoint:
    """A point that was tried: what, why (one sentence for each time), and what came out."""

    variant: Variant
    percent: int
    whys: tuple[str, ...]
    found: Measured

    @property
    def name(self) -> str:
        """Unique in a sweep."""
        return self.variant.point(self.percent)

    def without_speedup(self) -> "TriedPoint":
        """The same, for comparison with points that were timed in turn with another dense model."""
        kept = {key: value for key, value in self.found.deployed.items() if key != "speedup"}
        return replace(self, found=replace(self.found, deployed=kept))


def result_of(
    params: Params,
    baseline: Metrics,
    sparse: Metrics,
    cliff: int | None,
    entries: Sequence[TriedPoint],
    added: Sequence[int],
    probes: int,
    seconds: float,
) -> SweepResult:
    """Judge what was measured.

    Args:
        params: what was asked for.
        baseline: metrics of the dense model on the runtime.
        sparse: metrics of the sparse model.
        cliff: see `SweepResult`.
        entries: all points.
        added: percents that the sweep wrote into params.yaml.
        probes: points that were cut and measured by themselves.
        seconds: from start to end.
    """
    p = params.sweep
    deployed = {entry.name: entry.found.deployed for entry in entries if _status(entry.found) == "finetuned"}
    verdict = judge(deployed, baseline, p)
    points = tuple(
        SweepPoint(
            name=entry.name,
            percent=entry.percent,
            overrides=dict(entry.variant.overrides),
            status=_status(entry.found),
            why="; then ".join(dict.fromkeys(entry.whys)),
            before=entry.found.before,
            after=entry.found.after,
            deployed=entry.found.deployed,
            missed=verdict.missed.get(entry.name, ()),
            error=entry.found.error,
        )
        for entry in entries
    )
    result = SweepResult(
        name=f"{params.model}, {p.objective}",
        objective=p.objective,
        constraints=p.constraints,
        axes=describe(params),
        baseline=baseline,
        sparse=sparse,
        cliff=cliff,
        points=points,
        front=verdict.front,
        winner=verdict.winner,
        why=verdict.why,
        closest=verdict.closest,
        added=tuple(sorted(added)),
        probes=probes,
        finetunings=len(deployed),
        grid_finetunings=(p.high - p.low + 1) * combinations(p.axes),
        seconds=round(seconds, 1),
    )
    return result.model_copy(update={"key": _key(result)})


def _status(found: Measured) -> Status:
    if found.error:
        return "failed"
    if found.hopeless:
        return "pruned"
    return "finetuned" if found.deployed else "probed"


def _key(result: SweepResult) -> str:
    content = result.model_dump(mode="json", exclude={"key", "seconds"})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
