"""Standard output that takes any text."""

import io
import sys


def write_anything() -> None:
    """Write characters that the terminal's encoding lacks as `\\uXXXX`, as Python does on standard error.

    A table's lines in a C locale, or half a surrogate pair in a name that somebody gave, would end a command instead.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
