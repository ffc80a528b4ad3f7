"""How many things to do at once."""

import os


def worker_count(asked: int) -> int:
    """`asked` workers, or for 0 one for every core that this process may use."""
    if asked:
        return asked
    if hasattr(os, "sched_getaffinity"):  # containers often grant fewer cores than the machine has
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
