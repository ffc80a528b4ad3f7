"""How many things to do at once."""

from yoloslim.cores import usable_cores


def worker_count(asked: int) -> int:
    """`asked` workers, or for 0 one for every core that this process may use."""
    return asked or usable_cores()
