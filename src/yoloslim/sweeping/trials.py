"""Sampling of percents and axes together by Optuna, with hopeless points dropped before they are finetuned.

Optuna keeps nothing on disk: it is seeded and told results in the order in which it asked, so that a sweep that was
stopped asks the same again, and finds the answers in DVC's cache.
"""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yoloslim.config.sweep import SweepParams
from yoloslim.sweeping.constraints import Metrics, misses, number

PENALTY = 10.0
"""Weight of the share by which a constraint is missed: feasible points come before all others."""
STARTUP = 4
"""Trials before the first may be dropped."""


@dataclass(frozen=True)
class Trial:
    """One point that Optuna proposes: its number, the values of the axes, and the percent."""

    number: int
    values: tuple[tuple[str, Any], ...]
    percent: int


class Trials:
    """A seeded study."""

    def __init__(self, params: SweepParams, baseline: Metrics, sparse: Metrics, seed: int) -> None:
        import optuna  # a second, and only needed here

        optuna.logging.set_verbosity(logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True)
        pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=0)
        self._study = optuna.create_study(direction="minimize", sampler=sampler, pruner=pruner)
        self._pruned = optuna.TrialPruned
        self._asked: dict[int, Any] = {}
        self.params, self.baseline, self.sparse = params, baseline, sparse

    def ask(self) -> Trial:
        """The next point; a percent of the grid, and an index into the values of each axis."""
        trial, p = self._study.ask(), self.params
        chosen = tuple(
            (key, values[trial.suggest_categorical(key, list(range(len(values))))]) for key, values in p.axes.items()
        )
        step = trial.suggest_int("percent", 0, len(p.percents) - 1)
        self._asked[trial.number] = trial
        return Trial(trial.number, chosen, p.percents[step])

    def is_hopeless(self, trial: Trial, before: Metrics) -> bool:
        """Whether a cut model is worse than the median of those before, so that finetuning it is not worth while."""
        asked = self._asked[trial.number]
        asked.report(score(before, self.sparse, self.params, "gflops"), step=0)
        return bool(asked.should_prune())

    def tell(self, trial: Trial, deployed: Metrics | None, *, hopeless: bool = False) -> None:
        """How a point came out: metrics on the runtime, dropped as hopeless, or failed (None)."""
        from optuna.trial import TrialState

        asked = self._asked.pop(trial.number)
        if deployed is None:
            self._study.tell(asked, state=TrialState.PRUNED if hopeless else TrialState.FAIL)
        else:
            self._study.tell(asked, score(deployed, self.baseline, self.params, "latency_ms"))


def score(metrics: Metrics, dense: Metrics, params: SweepParams, speed: str) -> float:
    """What Optuna minimises: the cost as a share of the dense model's, and a penalty for constraints that are missed.

    Args:
        metrics: of a point.
        dense: of the model that its mAP is measured against.
        params: objective and constraints.
        speed: metric that stands for speed: `gflops` before a point has been on the runtime, `latency_ms` after.
    """
    metric = {"fastest": speed, "smallest": "params_m"}.get(params.objective)
    cost = number(metrics, metric) / number(dense, metric) if metric else 1 - number(metrics, "map50")
    bounds = params if speed == "latency_ms" else params.model_copy(update=_unmeasured())
    return cost + PENALTY * sum(miss.share for miss in misses(metrics, dense, bounds))


def _unmeasured() -> Mapping[str, None]:
    """Bounds on what only the runtime tells."""
    return {"max_latency_ms": None, "min_fps": None, "max_size_mb": None}
