"""Options of a command that were typed, and those of them that would do nothing."""

from collections.abc import Sequence
from itertools import pairwise

import typer

from yoloslim.cores import at_most_cores
from yoloslim.errors import YoloslimError


def typed(context: typer.Context, *names: str) -> list[str]:
    """Those of a command's options that were given."""
    sources = {name: context.get_parameter_source(name) for name in names}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def refuse(idle: list[str], why: str) -> None:
    """End the command where an option was given that would do nothing.

    Raises:
        YoloslimError: there is one.
    """
    if idle:
        raise YoloslimError(f"--{idle[0].replace('_', '-')} {why}")


def own_cores(threads: int | None) -> int | None:
    """Callback of an option `--threads`, since runtimes start as many as they are told: 99 on 2 cores stall it all."""
    return threads and at_most_cores(threads, "--threads")


def refuse_empty(words: Sequence[str]) -> None:
    """End the command where a word is empty, as `--out "$FOLDER"` is without that variable.

    An empty path would be the current folder, and an empty value the default: nobody means that.

    Raises:
        YoloslimError: there is one; names the option that it stands behind.
    """
    for before, word in pairwise(["", *words]):
        option, equals, value = word.partition("=") if word.startswith("--") else (before, "=", word)
        if equals and not value:
            name = f"{option} is given an empty value" if option.startswith("-") else "an argument is empty"
            raise YoloslimError(f"{name}; is a variable of your shell unset? Give a value, or leave it out")
