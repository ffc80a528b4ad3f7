"""Whether what a sweep found takes the place of what was best before."""

from collections.abc import Mapping
from typing import Any

from yoloslim.config.results import SweepResult
from yoloslim.sweeping.constraints import choose, misses


def is_better(new: Mapping[str, Any], champion: Mapping[str, Any], sweep: SweepResult) -> bool:
    """Whether a sweep's winner beats the champion, which misses the sweep's constraints, or is chosen second.

    Equal is not better.

    Raises:
        PruneError: a metric that is needed is missing.
    """
    if misses(champion, sweep.baseline, sweep.constraints):
        return True
    return choose({"champion": champion, "new": new}, sweep.objective) == "new"
