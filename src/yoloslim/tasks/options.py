"""Options of a command that were typed, and those of them that would do nothing."""

import typer

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
