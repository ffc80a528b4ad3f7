"""How many CPU cores this process may use."""

import logging
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

logger = logging.getLogger(__name__)

CGROUP, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""Where Linux tells the limits of control groups, which containers are, and which of them this process is in."""


def usable_cores() -> int:
    """Cores that affinity and the quotas of control groups leave this process, at least 1; looked up at each call."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _quotas())]))


def _quotas() -> Iterator[float]:
    """Cores that this process's control group allows, and those above it; of both versions of Linux's interface.

    A container may see its own group as the topmost one, under another name than the kernel tells: the topmost one is
    always among those that are asked.
    """
    with suppress(OSError):  # not Linux
        for line in OWN_GROUPS.read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            below = CGROUP / "cpu" if controllers else CGROUP
            for group in (Path(name), *Path(name).parents):
                with suppress(OSError, ValueError):  # no such group here, or without a limit: `max` or -1
                    quota, period = _limit(below / group.relative_to("/"), old=bool(controllers))
                    if quota > 0:
                        yield quota / period


def _limit(group: Path, *, old: bool) -> tuple[int, int]:
    """Microseconds of computing in a period, and those of the period."""
    if old:
        return int((group / "cpu.cfs_quota_us").read_text()), int((group / "cpu.cfs_period_us").read_text())
    quota, period = map(int, (group / "cpu.max").read_text().split())
    return quota, period


def thread_count(asked: int, key: str) -> int:
    """Threads to compute with: what a key asks for, else what OMP_NUM_THREADS says, else one a usable core.

    Never more than there are cores for: threads without a core of their own make others wait.

    Args:
        asked: 0 leaves the choice.
        key: name of the setting, for the message.
    """
    cores, outside = usable_cores(), os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    wanted = int(outside) if outside.isdecimal() and int(outside) else 0
    _tell(asked, wanted, cores, key)
    return min(asked or wanted or cores, cores)


def at_most_cores(threads: int, key: str) -> int:
    """So many threads, or as many as this process may use cores, said where that is fewer.

    Args:
        threads: that somebody asked for.
        key: name of the setting, for the message.
    """
    cores = usable_cores()
    _tell(threads, 0, cores, key)
    return min(threads, cores)


@cache
def _tell(asked: int, wanted: int, cores: int, key: str) -> None:
    """Say what else was asked for and cannot be had, once in a process: many ask for the same threads."""
    if asked and wanted and asked != wanted:
        logger.info("%s is %d and OMP_NUM_THREADS %d: %s counts", key, asked, wanted, key)
    if asked > cores:
        logger.warning("%s is %d, but this process may use %d core(s): taking %d", key, asked, cores, cores)
