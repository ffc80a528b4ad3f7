import pytest
import torch

from yoloslim.extras import is_installed
from yoloslim.toolchains import state_of, toolchain_named


def needs_toolchain(name: str) -> None:
    """Skip the test where a toolchain is not installed, with the command that installs it."""
    state = state_of(toolchain_named(name))
    if state.word != "installed":
        pytest.skip(state.reason)


def has_tensorrt() -> bool:
    """Whether TensorRT is installed, and PyTorch has a GPU for it."""
    return is_installed("tensorrt") and torch.cuda.is_available()


def needs_tensorrt() -> None:
    """Skip the running test without it."""
    if not has_tensorrt():
        pytest.skip("TensorRT needs an NVIDIA GPU that PyTorch can use, and `pip install 'yoloslim[tensorrt]'`")
