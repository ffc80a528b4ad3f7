"""What a sweep found: the winner and why it won, or the closest point and what it misses."""

from collections.abc import Mapping
from dataclasses import dataclass

from yoloslim.config.sweep import SweepParams
from yoloslim.evaluation.other_work import disturbed
from yoloslim.sweeping.constraints import EQUAL_SPEED, Metrics, choose, closest, misses, number
from yoloslim.sweeping.pareto import pareto_front

WANTED = {"fastest": "the fastest", "smallest": "the smallest", "accurate": "the most accurate"}
COST = {"fastest": "latency_ms", "smallest": "params_m", "accurate": "latency_ms"}
"""The metric that is set against map50 in the Pareto front."""


@dataclass(frozen=True)
class Verdict:
    """Names of points: the best one (None if none satisfies the constraints), the closest one then, and the front.

    Attributes:
        missed: name -> the constraints it does not satisfy, one phrase each.
        why: one or two sentences.
    """

    winner: str | None
    closest: str | None
    why: str
    front: tuple[str, ...]
    missed: dict[str, tuple[str, ...]]


def judge(candidates: Mapping[str, Metrics], baseline: Metrics, params: SweepParams) -> Verdict:
    """Judge finetuned points by their metrics on the runtime.

    Raises:
        PruneError: a metric that is needed is missing.
    """
    missed = {n: tuple(m.text for m in misses(c, baseline, params)) for n, c in candidates.items()}
    good = {name: metrics for name, metrics in candidates.items() if not missed[name]}
    cost = COST[params.objective]
    front = tuple(pareto_front({n: (number(m, cost), -number(m, "map50")) for n, m in candidates.items()}))
    if not candidates:
        return Verdict(None, None, "no point could be measured", (), {})
    if not good:
        near = closest(candidates, baseline, params)
        why = f"no point satisfies the constraints; {near} % comes closest: it {' and '.join(missed[near])}"
        return Verdict(None, near, why, front, missed)
    winner = choose(good, params.objective)
    return Verdict(winner, None, _why(winner, good, candidates, baseline, params), front, missed)


def _why(
    winner: str, good: Mapping[str, Metrics], candidates: Mapping[str, Metrics], baseline: Metrics, params: SweepParams
) -> str:
    found = candidates[winner]
    drop = number(baseline, "map50") - number(found, "map50")
    change = f"loses {drop:.3f}" if drop > 0 else f"gains {abs(drop):.3f}"
    best = f"{WANTED[params.objective]} of {len(good)} finetuned points that satisfy"
    text = f"{best if len(good) > 1 else 'the one finetuned point that satisfies'} the constraints: {change} map50"
    if str(baseline.get("model", "")).startswith("control/"):
        text += " against the dense model trained for as long"
    text += f", {number(baseline, 'params_m') / number(found, 'params_m'):.1f} times smaller"
    text += f", {found['speedup']:.1f} times as fast" if "speedup" in found else ""
    others = found.get("latency_other_cores")
    if "speedup" in found and disturbed(others):
        text += f" (timed while other programs used {others:.1f} cores: time it again on a quiet machine)"
    out = sorted(
        (n for n in candidates if n not in good), key=lambda n: number(candidates[n], "params_m"), reverse=True
    )
    if out:
        reason = misses(candidates[out[0]], baseline, params)[0].text
        text += f"; the next, {out[0]} %, {reason}"
    if params.objective == "fastest" and len(good) > 1:
        text += f" (speeds within {100 * EQUAL_SPEED:.0f} % count as equal)"
    return text
