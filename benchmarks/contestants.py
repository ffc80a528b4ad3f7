"""Who takes part in `benchmarks.race`: ways from a dense detector to a faster one."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from benchmarks.shrink import (
    Rule,
    Shrink,
    afresh,
    at_smaller_size,
    by_torch_pruning,
    fitted,
    narrowed,
    pruned,
    unchanged,
)
from yoloslim.prune_request import ChannelSelection, Scope

ROUND_EPOCHS = 5
"""Epochs between two cuts of a way that cuts in rounds."""


@dataclass(frozen=True)
class Way:
    """A contestant.

    Attributes:
        shrink: makes the smaller network.
        penalty: name of the sparse training that goes first (a key of PENALTIES); empty for none.
        scratch: train from random weights, for as long as dense and later trainings take in all.
        fixed: there is one such network, whatever latency is asked for.
        distill: weights of learning from the teacher's detections and features; empty for none.
        teacher: the run whose model teaches: the control, which a pipeline trains anyway, or `start`.
        settle: makes the same network as `shrink`, with layers that make up for the cut before any training; None
            re-estimates BatchNorm statistics.
        rounds: cuts, with `ROUND_EPOCHS` of training between two, which are taken off the last training.
    """

    shrink: Shrink
    penalty: str = ""
    scratch: bool = False
    fixed: bool = False
    distill: tuple[float, ...] = ()
    teacher: str = "dense"
    settle: Shrink | None = None
    rounds: int = 1


@dataclass(frozen=True)
class Penalty:
    """A sparse training: changes to the section `sparse`, and the scope whose scales it acts on."""

    scope: Scope
    changes: dict[str, object] = field(default_factory=dict)


PENALTIES = {
    "slimming": Penalty("coupled"),
    "source": Penalty("source", {"mode": "subgradient", "beta_factor": 10.0, "rate": 0.001}),
    "group": Penalty("coupled", {"penalty": "group"}),
    "growing": Penalty("coupled", {"penalty": "growing", "rate": 0.5}),
}


def _by(rule: Rule, penalty: str = "") -> Way:
    return Way(partial(pruned, rule), penalty)


def _pruned(ranking: str, round_to: int, penalty: str = "", scope: Scope = "coupled") -> Way:
    return _by(Rule(ranking, round_to, scope), penalty)


def _fitted(rule: Rule) -> Way:
    return replace(_by(rule), settle=partial(fitted, rule))


TAUGHT: dict[str, dict[str, Any]] = {
    "": {},
    "-output": {"distill": (0.5, 0.0)},
    "-start": {"distill": (0.5, 0.0), "teacher": "start"},
}
WEIGHTED: dict[str, dict[str, Any]] = {
    **TAUGHT,
    "-strong": {"distill": (1.5, 0.0)},
    "-stronger": {"distill": (4.0, 0.0)},
    "-both": {"distill": (0.5, 0.5)},
}
BUDGETS: dict[str, ChannelSelection] = {"budget": "latency", "flops": "flops"}
RANKINGS = (
    "gamma",
    "taylor",
    "l2",
    "random",
    *(f"{score}_{how}" for score in ("gamma", "taylor", "l2") for how in ("lamp", "isomorphic", "uniform", "mean")),
)
WAYS: dict[str, Way] = {
    "dense": Way(unchanged, fixed=True),
    "dense-scratch": Way(afresh, scratch=True, fixed=True),
    "narrow": Way(narrowed, scratch=True),
    "image": Way(at_smaller_size),
    "source": _pruned("gamma", 1, "source", "source"),
    "torch-pruning-bn": Way(partial(by_torch_pruning, "bn", 8)),
    "torch-pruning-group": Way(partial(by_torch_pruning, "group", 8)),
    **{
        f"{penalty or 'none'}-{ranking}-{round_to}": _pruned(ranking, round_to, penalty)
        for penalty in ("", "slimming")
        for ranking in RANKINGS
        for round_to in (1, 8)
        if ranking in ("gamma", "taylor") or (not penalty and round_to == 8)
    },
    **{
        f"{penalty or 'none'}-{ranking}-8-budget": _by(Rule(ranking, 8, selection="latency"), penalty)
        for penalty in ("", "slimming")
        for ranking in ("taylor", "gamma", "taylor_lamp")
    },
    **{
        f"none-{ranking}-16-{name}{what}": replace(_by(Rule(ranking, 16, selection=selection)), **taught)
        for ranking in ("taylor", "gamma")
        for name, selection in BUDGETS.items()
        for what, taught in WEIGHTED.items()
    },
    **{f"{penalty}-l2-8": _pruned("l2", 8, penalty) for penalty in ("group", "growing")},
    **{
        f"none-{ranking}-8-fit{what}": replace(_fitted(Rule(ranking, 8)), **taught)
        for ranking in ("gamma", "taylor", "taylor_uniform")
        for what, taught in TAUGHT.items()
    },
    **{
        f"none-{ranking}-4-fit-start{what}": replace(_fitted(Rule(ranking, 4)), distill=(weight, 0.0), teacher="start")
        for ranking in ("taylor_uniform", "taylor_mean", "l2_mean")
        for what, weight in (("", 0.5), ("-2", 2.0))
    },
    **{
        f"none-{ranking}-4-flops-fit-start-2": replace(
            _fitted(Rule(ranking, 4, selection="flops")), distill=(2.0, 0.0), teacher="start"
        )
        for ranking in ("taylor", "l2")
    },
    "none-taylor_uniform-8-output": replace(_pruned("taylor_uniform", 8), distill=(0.5, 0.0)),
    "narrow-output": Way(narrowed, scratch=True, distill=(0.5, 0.0)),
    "none-gamma-8-output": replace(_pruned("gamma", 8), distill=(0.5, 0.0)),
    **{
        f"none-{ranking}-16{what}": replace(_pruned(ranking, 16), **taught)
        for ranking in ("gamma", "gamma_uniform", "l2_mean", "taylor", "taylor_mean", "taylor_uniform")
        for what, taught in WEIGHTED.items()
    },
    **{
        f"none-{name}-16{what}": replace(_by(rule), **taught)
        for name, rule in {
            "taylor_keep25": Rule("taylor", 16, layer_keep=0.25),
            "taylor_per_cost": Rule("taylor", 16, per_cost=True),
        }.items()
        for what, taught in WEIGHTED.items()
    },
    **{
        f"none-{ranking}-16-fit{what}": replace(_fitted(Rule(ranking, 16)), **taught)
        for ranking in ("gamma", "gamma_uniform", "taylor_uniform")
        for what, taught in TAUGHT.items()
    },
    "none-gamma-16-output-rounds": replace(_pruned("gamma", 16), rounds=3, **TAUGHT["-output"]),
    **{
        f"torch-pruning-{kind}-16{what}": Way(partial(by_torch_pruning, kind, 16), **taught)
        for kind in ("bn", "group")
        for what, taught in WEIGHTED.items()
    },
    **{f"{penalty}-l2-16": _pruned("l2", 16, penalty) for penalty in ("group", "growing")},
    "none-gamma-8-feature": replace(_pruned("gamma", 8), distill=(0.0, 0.5)),
    "none-gamma-8-both": replace(_pruned("gamma", 8), distill=(0.5, 0.5)),
}
"""Name -> way. Pruned ones are called penalty-ranking-multiple: of the channels that a layer keeps."""
