import pytest

from yoloslim.toolchains import state_of, toolchain_named


def needs_toolchain(name: str) -> None:
    """Skip the test where a toolchain is not installed, with the command that installs it."""
    state = state_of(toolchain_named(name))
    if state.word != "installed":
        pytest.skip(state.reason)
