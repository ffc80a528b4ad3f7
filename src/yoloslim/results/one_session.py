"""Speeds of the one session that timed all models of a checkout, in the place of those of hours apart."""

from collections.abc import Mapping
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


def at_its_pace(quantized: Mapping[str, Metrics], timing: Metrics) -> dict[str, Metrics]:
    """Int8 versions with the times that agree with those of that session.

    Each was timed in turn with the dense model, perhaps hours away from the session: what it takes is what the dense
    model took in the session, over how many times as fast it was. Other programs may have disturbed either.

    Args:
        quantized: metrics by runtime, `speedup` among them.
        timing: what stage `timing` wrote, or nothing.
    """
    dense = timing.get("models", {}).get("baseline", {}).get("latency_ms")
    found = dict(quantized)
    for runtime, metrics in quantized.items():
        if dense and metrics.get("speedup") and metrics.get("latency_ms"):
            ms = dense / metrics["speedup"]
            p90 = metrics["latency_p90_ms"] * ms / metrics["latency_ms"]
            others = max(each.get("latency_other_cores", 0.0) for each in (metrics, timing["models"]["baseline"]))
            now = {"latency_ms": ms, "latency_p50_ms": ms, "latency_p90_ms": p90, "fps": 1000 / ms}
            now |= {"latency_other_cores": others}
            found[runtime] = metrics | now
    return found
