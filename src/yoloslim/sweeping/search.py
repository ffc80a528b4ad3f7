"""The search along percent: what to try next and why, told from what has been measured so far, and nothing else.

Nothing is remembered between calls. A sweep that was stopped therefore goes on as if it had not been: the points that
are done are found in DVC's cache, and the same questions follow from them.

Assumed of the curves: more pruning costs no parameters and no time, and after finetuning mAP falls with the percent,
but for small dents. The largest percent that keeps its mAP is then found by bisection. The cliff before finetuning is
only where the bisection starts, since finetuning may recover what lies beyond it; one more point behind the end that
was found tells whether the curve goes on behind a dent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from yoloslim.config.sweep import SweepParams
from yoloslim.sweeping.boundary import last_true, next_looks
from yoloslim.sweeping.cliff import coarse_steps, find_fall, next_probes
from yoloslim.sweeping.constraints import budget_misses, has_budgets, map_miss, number

Metrics = dict[str, Any]
Kind = Literal["probe", "finetune"]


@dataclass(frozen=True)
class Ask:
    """A point to run: only cut and measured (`probe`), or all the way to the runtime (`finetune`); and why."""

    kind: Kind
    percent: int
    why: str


@dataclass(frozen=True)
class Measured:
    """What is known of one percent; empty where it has not got that far.

    Attributes:
        before: metrics of the cut model.
        after: metrics of the finetuned model in PyTorch.
        deployed: metrics on the runtime.
        error: what broke it off for good.
        hopeless: it was dropped before finetuning.
    """

    before: Metrics = field(default_factory=dict)
    after: Metrics = field(default_factory=dict)
    deployed: Metrics = field(default_factory=dict)
    error: str = ""
    hopeless: bool = False


Table = Mapping[int, Measured]


@dataclass(frozen=True)
class Search:
    """One search along percent.

    Attributes:
        params: range, constraints, objective.
        baseline: metrics of the dense model that points are held against, on the runtime.
        sparse: metrics of the sparse model, the cut of 0 %.
        listed: percents that are finetuned in any case, since params.yaml lists them.
        ways: points that run side by side.
    """

    params: SweepParams
    baseline: Metrics
    sparse: Metrics
    listed: tuple[int, ...] = ()
    ways: int = 1

    def next(self, table: Table) -> list[Ask]:
        """What to run now, all of it side by side; empty when the answer is known."""
        return self._probes(table) or self._listed(table) or self._finetunings(table)

    def cliff(self, table: Table) -> int | None:
        """The last percent before mAP falls before finetuning; 0: already the first falls; None: none does."""
        fall = find_fall(self._before(table), (0, *self._steps(table)))
        return None if fall.first is None else fall.last

    def candidates(self, table: Table) -> list[int]:
        """Percents that may be finetuned, those that failed left out, in the order in which the search sees them.

        The search looks for the last that holds: the most pruned that keeps its mAP or, where accuracy is wanted, the
        least pruned within the budgets.
        """
        found = [p for p in self.params.percents if not (p in table and table[p].error)]
        return found[::-1] if self.params.objective == "accurate" else found

    def holds(self, measured: Measured) -> bool:
        """Whether a finetuned point is on the near side of the boundary that is looked for."""
        if self.params.objective == "accurate":
            return not budget_misses(measured.deployed, self.params)
        return not map_miss(measured.deployed, self.baseline, self.params)

    def _before(self, table: Table) -> dict[int, float]:
        found = {p: number(m.before, "map50") for p, m in table.items() if m.before and p >= self.params.low}
        return {0: number(self.sparse, "map50"), **found}

    def _steps(self, table: Table) -> list[int]:
        steps = coarse_steps(self.params.low, self.params.high, self.params.coarse)
        return [step for step in steps if not (step in table and table[step].error)]

    def _probes(self, table: Table) -> list[Ask]:
        steps, points = self._steps(table), self._before(table)
        if not steps:
            return []
        tries = [p for p in next_probes(points, steps, self.ways) if not (p in table and table[p].error)]
        if any(step not in points for step in steps):
            return [Ask("probe", p, f"first round, in steps of {self.params.coarse} %") for p in tries]
        fall = find_fall(points, (0, *steps))
        return [Ask("probe", p, f"mAP falls between {fall.last} and {fall.first} %") for p in tries]

    def _listed(self, table: Table) -> list[Ask]:
        left = [p for p in self.listed if p in self.params.percents and not _is_done(table, p)]
        return [Ask("finetune", p, "params.yaml lists it") for p in left]

    def _finetunings(self, table: Table) -> list[Ask]:
        candidates = self.candidates(table)
        known = {i: self.holds(table[p]) for i, p in enumerate(candidates) if p in table and table[p].deployed}
        count = len(candidates)
        if self.params.objective == "accurate" and not has_budgets(self.params):
            known = dict.fromkeys(range(count - 1), True) | known  # all are within no budget: the last is the answer
        looks = next_looks(known, count, self._guess(candidates, table), self.ways)
        if looks:
            return [Ask("finetune", candidates[i], self._why(candidates, known, i, table)) for i in looks]
        low, high = last_true(known, count)
        beyond = high + 1
        if low >= 0 and beyond < count and beyond not in known:
            return [Ask("finetune", candidates[beyond], f"whether {candidates[high]} % was only a dent")]
        return []

    def _guess(self, candidates: list[int], table: Table) -> int:
        """Index to start at: the cliff; without one, the end towards which the search goes."""
        cliff = self.cliff(table)
        if self.params.objective == "accurate" or cliff is None:
            return len(candidates) - 1
        return max((i for i, p in enumerate(candidates) if p <= cliff), default=0)

    def _why(self, candidates: list[int], known: Mapping[int, bool], index: int, table: Table) -> str:
        if not known:
            return self._why_first(candidates, index, table)
        low, high = last_true(known, len(candidates))
        accurate = self.params.objective == "accurate"
        good, bad = ("is within the budgets", "is not") if accurate else ("keeps its mAP", "loses too much")
        parts = [f"{candidates[low]} % {good}"] if low >= 0 else []
        parts += [f"{candidates[high]} % {bad}"] if high < len(candidates) else []
        return ", ".join(parts)

    def _why_first(self, candidates: list[int], index: int, table: Table) -> str:
        if self.params.objective == "accurate":
            return "first guess: the less is cut, the more accurate"
        cliff = self.cliff(table)
        told = {None: "there is no cliff before finetuning", 0: "even the first cut falls before finetuning"}
        text = "first guess: " + told.get(cliff, f"the cliff before finetuning is at {cliff} %")
        if self._guess(candidates, table) != index:
            text += f"; {candidates[index]} % is as near as halving allows"
        return text


def _is_done(table: Table, percent: int) -> bool:
    return percent in table and bool(table[percent].deployed or table[percent].error)
