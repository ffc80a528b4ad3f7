"""Which processor computes here: a speed is one of a machine."""

import platform
from pathlib import Path


def processor() -> str:
    """The processor's name, or, on boards, which have none, the board's and its cores' numbers."""
    board, info = Path("/proc/device-tree/model"), Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    for wanted in ("model name", "CPU part"):
        if names := {line.partition(":")[2].strip() for line in lines if line.startswith(wanted)}:
            named = ", ".join(sorted(names))
            return f"{board.read_text().strip(chr(0))}, {named}" if board.is_file() else named
    return platform.processor() or platform.machine()
