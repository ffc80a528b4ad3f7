"""How a command speaks: standard output that takes any text, and a sentence where the machine is at fault."""

import io
import sys
import textwrap

from yoloslim.disk import SAID, disk_sentence
from yoloslim.errors import memory_is_scarce, memory_ran_out


def write_anything() -> None:
    """Write characters that the terminal's encoding lacks as `\\uXXXX`, as Python does on standard error.

    A table's lines in a C locale, or half a surrogate pair in a name that somebody gave, would end a command instead.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def sentence(error: Exception) -> str:
    """What a command ends with where a disk, a name or too little memory is at fault; empty for all else."""
    if isinstance(error, OSError) and error.errno in SAID:
        return disk_sentence(error)
    text = textwrap.shorten(str(error).strip().partition("\n")[0], 160, placeholder=" ...") or type(error).__name__
    if memory_ran_out(error) or memory_is_scarce():
        return f"no memory is left ({text}); end other programs, or take smaller images or batches"
    if "can't start new thread" in text:
        return f"{text}: no more are allowed; end other programs, raise `ulimit -u`, or set fewer threads and workers"
    return ""
