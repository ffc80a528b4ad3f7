"""What a runtime is, and the registry of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from yoloslim.choices import Precision
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor.base import GraphDescription, Images, Predictor

Ranges = Mapping[str, tuple[float, float]]
"""Of tensors of a graph, by name: least and largest value."""

if TYPE_CHECKING:
    from onnx import ModelProto

    Write = Callable[[ModelProto, Path], list[str]]
    WriteInt8 = Callable[[ModelProto, Images, Path], list[str]]
    WriteChosenInt8 = Callable[[ModelProto, Images, Ranges, Sequence[str], Path], list[str]]

Open = Callable[[Path, Callable[[], GraphDescription], int | None, Precision], Predictor]
"""Opens a file, given a way to its description, CPU threads (None leaves the choice) and the precision."""


@dataclass(frozen=True)
class Runtime:
    """What runs models, and what writes them for it.

    Attributes:
        name: by which it is asked for.
        suffixes: of the files that it reads.
        open: makes its predictor. Packages that may be missing are imported there, with an error that names them.
        format: name of the file format that `write` and `write_int8` write; empty where it runs what others write.
        write: writes an ONNX graph into a folder in its format and names the files, the one to open first.
        write_int8: likewise quantised, calibrated on images uint8 (N, S, S, 3).
        write_chosen_int8: likewise, where training has set the ranges of some tensors, or some nodes stay fp32.
        write_fp16: as `write`, with weights in half precision.
        precisions: what it can compute in, where the file leaves the choice.
        one_image: whether its graphs take one image a call, whatever batch is asked for.
        open_int8: whether int8 versions of exports of open batch take any number of images, too; else one.
        beside: name of the file that it takes from a folder that holds one beside the graph.
    """

    name: str
    suffixes: tuple[str, ...]
    open: Open
    format: str = ""
    write: Write | None = None
    write_int8: WriteInt8 | None = None
    write_chosen_int8: WriteChosenInt8 | None = None
    write_fp16: Write | None = None
    precisions: tuple[Precision, ...] = ("fp32",)
    one_image: bool = False
    open_int8: bool = False
    beside: str = ""

    def __post_init__(self) -> None:
        """Refuse suffixes that no file has.

        Raises:
            DeployError: there is one, or they are one text.
        """
        if isinstance(self.suffixes, str) or not all(each[:1] == "." for each in self.suffixes):
            raise DeployError(f"runtime {self.name!r}: suffixes {self.suffixes!r} are none; write them as ('.onnx',)")


RUNTIMES: dict[str, Runtime] = {}
"""By name; of those that read one kind of file the usual one first."""


def register_runtime(runtime: Runtime) -> None:
    """Make a runtime known to everything that takes one by name; a name that is taken gets the new one.

    Raises:
        DeployError: no Runtime.
    """
    if not isinstance(runtime, Runtime):
        raise DeployError(f"register_runtime takes a yoloslim.deploy.runtimes.Runtime, not a {type(runtime).__name__}")
    RUNTIMES[runtime.name] = runtime


def runtime_named(name: str) -> Runtime:
    """The runtime of that name.

    Raises:
        DeployError: there is none; lists those there are.
    """
    return _named(name, RUNTIMES, "runtime")


def runtime_of_format(name: str) -> Runtime:
    """The runtime that writes a file format.

    Raises:
        DeployError: none does; lists the formats there are.
    """
    return _named(name, {runtime.format: runtime for runtime in RUNTIMES.values() if runtime.write}, "format")


def int8_runtimes() -> list[str]:
    """Names of the runtimes that int8 versions can be written for."""
    return [name for name, runtime in RUNTIMES.items() if runtime.write_int8]


def runtime_for_int8(name: str) -> Runtime:
    """The runtime of that name, for which int8 versions can be written.

    Raises:
        DeployError: there is none; lists those there are.
    """
    able = {each: RUNTIMES[each] for each in int8_runtimes()}
    if name in RUNTIMES and RUNTIMES[name].beside:
        raise DeployError(
            f"{name} runs what a compiler writes: `yoloslim compile`, for a Rockchip NPU with --target rk3588 "
            "--precision int8"
        )
    if name in RUNTIMES and name not in able:
        raise DeployError(f"no int8 version is written for {name}, but for {', '.join(able)}")
    return _named(name, able, "runtime for int8")


def runtime_for_mixed(name: str) -> Runtime:
    """Likewise, with layers of one's choice left in fp32.

    Raises:
        DeployError: there is none; lists those there are.
    """
    able = {each: runtime for each, runtime in RUNTIMES.items() if runtime.write_chosen_int8}
    if runtime_for_int8(name).name not in able:
        raise DeployError(f"int8 for {name} leaves no layers of one's choice in fp32; for {', '.join(able)} it does")
    return able[name]


def _named(name: str, known: dict[str, Runtime], what: str) -> Runtime:
    if name not in known:
        raise DeployError(f"{what} {name!r} is not known; known: {', '.join(known)}")
    return known[name]
