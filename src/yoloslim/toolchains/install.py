"""Make, try and remove the environment of a toolchain."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor.onnxruntime import open_session
from yoloslim.files import atomic_folder, write_json
from yoloslim.toolchains.base import MARK, Toolchain
from yoloslim.toolchains.borrowed import borrow
from yoloslim.toolchains.session import Session, check_installed

_TIMEOUT_S = 3600
TOLERANCE = 0.01
"""Largest difference from ONNX Runtime in the self test, whose outputs are about 1: compilers compute in fp16."""


@dataclass(frozen=True)
class State:
    """Of a toolchain on this machine.

    Attributes:
        word: `installed`, `outdated` (other packages than this yoloslim wants), or `absent`.
        size_mb: of the folder, millions of bytes.
        reason: why it cannot be used; empty where it can.
    """

    word: Literal["installed", "outdated", "absent"]
    size_mb: float
    reason: str


def install(toolchain: Toolchain, say: Callable[[str], None], python: Path | None = None) -> None:
    """Make the environment, let it convert a small graph and compare; only then does it take the place of a former one.

    Args:
        toolchain: which.
        say: told what is done.
        python: interpreter to build it on; None looks for one.

    Raises:
        DeployError: too little room, no Python that fits, a package that cannot be had, or the self test failed.
    """
    interpreter = python or find_python(toolchain)
    _check_room(toolchain)
    say(f"installing {toolchain.name} ({toolchain.package} {toolchain.version}) into {toolchain.folder}")
    with atomic_folder(toolchain.folder) as folder:
        _run([str(interpreter), "-m", "venv", str(folder)], "making the environment")
        inside = folder / "bin" / "python"
        pip = [
            str(inside),
            "-m",
            "pip",
            "install",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--disable-pip-version-check",
        ]
        _run([*pip, "-q", "-r", str(toolchain.requirements)], "installing its packages")
        for package in toolchain.borrows:
            if not borrow(package, folder):
                raise DeployError(
                    f"the toolchain {toolchain.name} shares {package} with yoloslim, which runs on {sys.executable} "
                    f"(Python 3.{sys.version_info.minor}), and {interpreter} is another: leave out --python"
                )
        say("trying it")
        difference = self_test(toolchain, inside)
        facts = {"name": toolchain.name, "version": toolchain.version, "pins": toolchain.pins, "difference": difference}
        write_json(folder / MARK, facts)
    say(f"{toolchain.name} works: differs from ONNX Runtime by {difference:.1g}")


def remove(toolchain: Toolchain) -> float:
    """Remove a toolchain; what it took, millions of bytes.

    Raises:
        DeployError: there is none.
    """
    if not toolchain.folder.exists():
        raise DeployError(f"the toolchain {toolchain.name} is not installed: {toolchain.folder} is not there")
    freed = _size_mb(toolchain.folder)
    shutil.rmtree(toolchain.folder)
    return freed


def state_of(toolchain: Toolchain) -> State:
    """How a toolchain stands, without starting it."""
    size = _size_mb(toolchain.folder)
    try:
        check_installed(toolchain)
    except DeployError as error:
        return State("outdated" if (toolchain.folder / MARK).is_file() else "absent", size, str(error))
    return State("installed", size, "")


def find_python(toolchain: Toolchain) -> Path:
    """An interpreter that the packages of a toolchain are built for.

    Raises:
        DeployError: there is none; says where was looked and how to name one.
    """
    wanted = " or ".join(f"3.{minor}" for minor in toolchain.pythons)
    if toolchain.borrows:
        if sys.version_info.minor in toolchain.pythons:
            return Path(sys.executable)
        raise DeployError(
            f"the toolchain {toolchain.name} shares {', '.join(toolchain.borrows)} with yoloslim, which runs on Python "
            f"3.{sys.version_info.minor} here; {toolchain.package} {toolchain.version} is for {wanted}: install "
            "yoloslim there"
        )
    for candidate in _candidates(toolchain):
        probe = [str(candidate), "-c", "import sys, venv, ensurepip; print(sys.version_info[1])"]
        try:
            done = subprocess.run(probe, capture_output=True, encoding="utf-8", errors="replace", timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0 and done.stdout.strip().isdecimal() and int(done.stdout) in toolchain.pythons:
            return candidate
    raise DeployError(
        f"{toolchain.package} {toolchain.version} needs Python {wanted} with venv, and none was found (this one, on "
        f"the PATH, pyenv's): install one (apt-get install python3.{toolchain.pythons[-1]}-venv), or name it: "
        f"{toolchain.advice} --python PATH"
    )


def self_test(toolchain: Toolchain, python: Path | None = None) -> float:
    """Let a toolchain convert and run a small graph; the largest difference from ONNX Runtime, of outputs about 1.

    Raises:
        DeployError: it does not start, or computes something else.
    """
    graph = _small_graph()
    image = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    (wanted,) = open_session(graph.SerializeToString(), 1).run(None, {"images": image})
    with tempfile.TemporaryDirectory() as temporary, Session(toolchain, python) as session:
        source = Path(temporary) / "model.onnx"
        source.write_bytes(graph.SerializeToString())
        _, (found,) = session.ask("self_test", [image], source=str(source))
    difference = float(np.abs(found.reshape(wanted.shape) - wanted).max())
    if not difference <= TOLERANCE:
        raise DeployError(
            f"toolchain {toolchain.name} computes something else than ONNX Runtime (differs by {difference:.2g}): "
            f"{toolchain.advice}"
        )
    return difference


def _candidates(toolchain: Toolchain) -> Iterator[Path]:
    if sys.version_info.minor in toolchain.pythons:
        yield Path(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for minor in toolchain.pythons:
        if found := shutil.which(f"python3.{minor}"):
            yield Path(found)
        yield from sorted(pyenv.glob(f"versions/3.{minor}.*/bin/python"), reverse=True)


def _check_room(toolchain: Toolchain) -> None:
    """Packages, and the copies that are unpacked on the way."""
    there = next(folder for folder in (toolchain.folder, *toolchain.folder.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if free < toolchain.disk_mb * 1e6:
        raise DeployError(
            f"the toolchain {toolchain.name} needs {toolchain.disk_mb / 1000:.1f} GB and {free / 1e9:.1f} GB are free "
            f"in {there}: make room, or name a folder on another disk in YOLOSLIM_TOOLCHAINS"
        )


def _run(command: list[str], what: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeployError(f"{what}: {error}") from error
    if done.returncode:
        last = " | ".join((done.stdout + done.stderr).strip().splitlines()[-3:]) or f"status {done.returncode}"
        raise DeployError(f"{what} failed: {last}; nothing was changed")
    return done.stdout


def _size_mb(folder: Path) -> float:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6 if folder.is_dir() else 0.0


def _small_graph() -> onnx.ModelProto:
    """A convolution behind SiLU, as detectors are made of."""
    random = np.random.default_rng(1)
    weight = numpy_helper.from_array(random.normal(0, 0.2, (16, 3, 3, 3)).astype(np.float32), "weight")
    bias = numpy_helper.from_array(random.normal(0, 0.2, 16).astype(np.float32), "bias")
    nodes = [
        helper.make_node(
            "Conv", ["images", "weight", "bias"], ["c"], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]
        ),
        helper.make_node("Sigmoid", ["c"], ["s"]),
        helper.make_node("Mul", ["c", "s"], ["out"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 16, 16, 16])
    graph = helper.make_graph(nodes, "small", [images], [out], [weight, bias])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
