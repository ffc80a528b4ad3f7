"""What a sweep found, as the file metrics/sweep.json."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from yoloslim.config.results import SweepPoint, SweepResult
from yoloslim.sweeping.search import Measured, Search, Table
from yoloslim.sweeping.verdict import judge


def result_of(
    name: str, search: Search, table: Table, whys: Mapping[int, Sequence[str]], added: Sequence[int], seconds: float
) -> SweepResult:
    """Judge what was measured.

    Args:
        name: of the sweep.
        search: what was asked for.
        table: what was measured.
        whys: percent -> why it was tried, one sentence for each time.
        added: percents that the sweep wrote into params.yaml.
        seconds: from start to end.
    """
    params = search.params
    deployed = {str(p): table[p].deployed for p in sorted(table) if table[p].deployed and not table[p].error}
    verdict = judge(deployed, search.baseline, params)
    points = tuple(
        SweepPoint(
            name=str(percent),
            percent=percent,
            status=_status(found),
            why="; then ".join(dict.fromkeys(whys.get(percent, ()))),
            before=found.before,
            after=found.after,
            deployed=found.deployed,
            missed=verdict.missed.get(str(percent), ()),
            error=found.error,
        )
        for percent, found in sorted(table.items())
    )
    finetuned = sum(point.status == "finetuned" for point in points)
    result = SweepResult(
        name=name,
        objective=params.objective,
        constraints=params.constraints,
        axes={"percent": (params.low, params.high, params.step)},
        baseline=search.baseline,
        sparse=search.sparse,
        cliff=search.cliff(table),
        points=points,
        front=verdict.front,
        winner=verdict.winner,
        why=verdict.why,
        closest=verdict.closest,
        added=tuple(sorted(added)),
        probes=sum(bool(point.before) for point in points),
        finetunings=finetuned,
        grid_finetunings=params.high - params.low + 1,
        seconds=round(seconds, 1),
    )
    return result.model_copy(update={"key": _key(result)})


def _status(found: Measured) -> str:
    if found.error:
        return "failed"
    return "finetuned" if found.deployed else "probed"


def _key(result: SweepResult) -> str:
    content = result.model_dump(mode="json", exclude={"key", "seconds"})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
