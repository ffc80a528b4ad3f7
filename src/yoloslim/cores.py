"""How many CPU cores this process may use."""

import logging
import math
import os
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells a container's limits (cgroup v2)."""


def usable_cores() -> int:
    """Cores that affinity and a container's quota leave to this process, at least 1; looked up anew at each call."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # not a container, or `max`: without a limit
        quota, period = map(int, (CGROUP / "cpu.max").read_text().split())
        cores = min(cores, math.ceil(quota / period))
    return max(1, cores)


def thread_count(asked: int, key: str) -> int:
    """Threads to compute with: what a key asks for, else what OMP_NUM_THREADS says, else one a usable core.

    Never more than there are cores for: threads without a core of their own make others wait.

    Args:
        asked: 0 leaves the choice.
        key: name of the setting, for the message.
    """
    cores, outside = usable_cores(), os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    wanted = int(outside) if outside.isdecimal() and int(outside) else 0
    if asked and wanted and asked != wanted:
        logger.info("%s is %d and OMP_NUM_THREADS %d: %s counts", key, asked, wanted, key)
    if asked > cores:
        logger.warning("%s is %d, but this process may use %d core(s): taking %d", key, asked, cores, cores)
    return min(asked or wanted or cores, cores)
