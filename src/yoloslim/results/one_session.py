"""Speeds of the one session that timed all models of a checkout, in the place of those of hours apart."""

from typing import Any

Metrics = dict[str, Any]


def timed(deployed: Metrics, timing: Metrics, name: str) -> Metrics:
    """Metrics on the runtime, with the times of the one session that timed all models, where that ran on the same one.

    Args:
        deployed: of a model, or nothing.
        timing: what stage `timing` wrote, or nothing.
        name: what that calls the model: a percent, `baseline` or `control/<which>`.
    """
    found: Metrics = timing.get("models", {}).get(name)
    if not found or not deployed or deployed.get("backend") != timing.get("backend"):
        return deployed
    return deployed | found
