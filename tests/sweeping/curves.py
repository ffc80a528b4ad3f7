"""Curves of made-up networks: what probes and finetunings of any percent would measure."""

from dataclasses import dataclass, field

import numpy as np

from yoloslim.config.sweep import SweepParams
from yoloslim.sweeping.search import Ask, Measured, Search
from yoloslim.sweeping.verdict import Verdict, judge

BASELINE = {"map50": 0.7, "params_m": 1.8, "latency_ms": 4.0, "fps": 250.0, "size_mb": 7.2, "speedup": 1.0}
BASELINE["gflops"] = 0.04
SPARSE = {"map50": 0.69, "gflops": 0.04, "params_m": 1.8}


@dataclass
class Curves:
    """Before finetuning mAP falls off beyond `cliff`; after finetuning it falls steadily beyond `knee`.

    Attributes:
        noise: spread of mAP after finetuning from one percent to the next.
        ran: what was asked for, in order.
    """

    cliff: int
    knee: int
    noise: float = 0.0
    seed: int = 0
    ran: list[Ask] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.errors = self.noise * np.random.default_rng(self.seed).standard_normal(101)

    def before(self, percent: int) -> dict[str, float]:
        return {"map50": 0.69 - 0.001 * percent if percent <= self.cliff else 0.05}

    def deployed(self, percent: int) -> dict[str, float]:
        share = 1 - 0.95 * percent / 100
        fall = max(0, percent - self.knee)
        return {
            "map50": max(0.0, 0.695 - 0.0001 * percent - 0.006 * fall + self.errors[percent]),
            "params_m": 1.8 * share,
            "latency_ms": 0.5 + 3.5 * share,
            "fps": 1000 / (0.5 + 3.5 * share),
            "size_mb": 7.2 * share,
            "gflops": 0.04 * share,
            "speedup": 4.0 / (0.5 + 3.5 * share),
        }

    def run(self, ask: Ask, known: Measured | None) -> Measured:
        self.ran.append(ask)
        if ask.kind == "probe":
            return Measured(self.before(ask.percent))
        after = self.deployed(ask.percent)
        return Measured(self.before(ask.percent), after, after)


def search_along(
    curves: Curves, params: SweepParams, ways: int = 1, listed: tuple[int, ...] = ()
) -> tuple[Verdict, Search, dict[int, Measured]]:
    """Run a whole search; every round's questions must be new."""
    search, table = Search(params, BASELINE, SPARSE, listed, ways), dict[int, Measured]()
    while asks := search.next(table):
        assert len({ask.percent for ask in asks}) == len(asks)
        for ask in asks:
            known = table.get(ask.percent)
            assert known is None or (ask.kind == "finetune" and not known.deployed)
            table[ask.percent] = curves.run(ask, known)
    return judge({str(p): m.deployed for p, m in table.items() if m.deployed}, BASELINE, params), search, table


def exhaustive(curves: Curves, params: SweepParams) -> str | None:
    """The winner of finetuning every candidate."""
    return judge({str(p): curves.deployed(p) for p in params.percents}, BASELINE, params).winner


def finetuned(curves: Curves) -> list[int]:
    return [ask.percent for ask in curves.ran if ask.kind == "finetune"]


def probed(curves: Curves) -> list[int]:
    return [ask.percent for ask in curves.ran if ask.kind == "probe"]
