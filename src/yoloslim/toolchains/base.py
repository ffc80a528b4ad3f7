"""What a toolchain is, which there are, and where they lie."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from yoloslim.errors import DeployError
from yoloslim.files import user_cache

HOME = "YOLOSLIM_TOOLCHAINS"
"""Names another folder for them than the user's cache."""
MARK = "toolchain.json"
"""Written last, once an environment has passed its self test; without it there is none."""


@dataclass(frozen=True)
class Toolchain:
    """An environment of its own.

    Attributes:
        name: by which it is asked for.
        about: what it is for, for people.
        package: the one that it is about.
        version: of that package.
        pythons: minor versions of Python 3 that its packages are built for, the best first.
        disk_mb: room it takes, downloads included, millions of bytes.
        borrows: packages taken from this installation instead of installed once more, which ties it to this Python.
        program: module that runs inside, `toolchains.programs.serve` around it.
    """

    name: str
    about: str
    package: str
    version: str
    pythons: tuple[int, ...]
    disk_mb: int
    program: Callable[[], Path]
    borrows: tuple[str, ...] = ()

    @property
    def requirements(self) -> Path:
        """Every package of it, pinned."""
        return Path(__file__).parent / "requirements" / f"{self.name}.txt"

    @property
    def pins(self) -> str:
        """SHA-256 of the requirements: another list is another toolchain."""
        return hashlib.sha256(self.requirements.read_bytes()).hexdigest()

    @property
    def folder(self) -> Path:
        """Where it lies, or would."""
        return toolchains_folder() / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def advice(self) -> str:
        """The command that installs it."""
        return f"yoloslim toolchain install {self.name}"


def toolchains_folder() -> Path:
    """Where toolchains lie: the folder that `YOLOSLIM_TOOLCHAINS` names, or the user's cache."""
    if named := os.environ.get(HOME):
        return Path(named)
    return user_cache("toolchains")


def _litert() -> Path:
    from yoloslim.toolchains.programs import run_litert

    return Path(run_litert.__file__)


def _rockchip() -> Path:
    from yoloslim.toolchains.programs import run_rockchip

    return Path(run_rockchip.__file__)


TOOLCHAINS = {
    "litert": Toolchain("litert", "ONNX to LiteRT's .tflite, by onnx2tf", "onnx2tf", "2.6.9", (12, 13), 1000, _litert),
    "rockchip": Toolchain(
        "rockchip",
        "Rockchip's NPU compiler and simulator",
        "rknn-toolkit2",
        "2.5.0",
        (11, 12),
        1000,
        _rockchip,
        borrows=("torch", "torchgen"),
    ),
}


def toolchain_named(name: str) -> Toolchain:
    """The toolchain of that name.

    Raises:
        DeployError: there is none; lists those there are.
    """
    if name not in TOOLCHAINS:
        raise DeployError(f"toolchain {name!r} is not known; known: {', '.join(TOOLCHAINS)}")
    return TOOLCHAINS[name]
