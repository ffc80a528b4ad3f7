"""`yoloslim toolchain`: converters of other makers, each in an environment of its own under the user's cache."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help=__doc__, no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="litert or rockchip")]


@app.command()
def install(
    name: Name,
    python: Annotated[Path | None, typer.Option(help="interpreter to build it on; default: one that fits")] = None,
) -> None:
    """Install a toolchain, pinned, and try it; what stood there before stays until the new one works."""
    from yoloslim.toolchains import install as install_toolchain
    from yoloslim.toolchains import toolchain_named

    install_toolchain(toolchain_named(name), typer.echo, python)


@app.command("list")
def list_all() -> None:
    """Say which toolchains there are and which are installed."""
    from yoloslim.toolchains import TOOLCHAINS, state_of

    for name, toolchain in TOOLCHAINS.items():
        state = state_of(toolchain)
        facts = f"{state.size_mb:.0f} MB, {toolchain.folder}" if state.word == "installed" else toolchain.advice
        typer.echo(f"{name:10} {state.word:10} {toolchain.package} {toolchain.version}: {toolchain.about}; {facts}")


@app.command()
def check(name: Name) -> None:
    """Let an installed toolchain convert a small graph and compare it with ONNX Runtime."""
    from yoloslim.toolchains import toolchain_named
    from yoloslim.toolchains.install import self_test

    difference = self_test(toolchain_named(name))
    typer.echo(f"{name} works: differs from ONNX Runtime by {difference:.1g}")


@app.command()
def remove(name: Name) -> None:
    """Remove a toolchain."""
    from yoloslim.toolchains import remove as remove_toolchain
    from yoloslim.toolchains import toolchain_named

    typer.echo(f"{name} removed, {remove_toolchain(toolchain_named(name)):.0f} MB freed")
