"""What this machine can do: runtimes that really run, makers' tools, chips, boards, disk and GPU."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from yoloslim.config import Params
from yoloslim.deploy.ascend.cann import find_cann
from yoloslim.deploy.board.device import Local
from yoloslim.deploy.board.job import CHIP, Backend, shortcoming
from yoloslim.deploy.board.remote import Board
from yoloslim.deploy.board.target import parse_target
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.errors import YoloslimError
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.models.detector import Detector, build_detector
from yoloslim.quiet import quiet
from yoloslim.toolchains import TOOLCHAINS, state_of

State = Literal["ok", "absent", "broken"]

LARGEST_DIFFERENCE = 1e-3
"""Of any logit, between a runtime and PyTorch, for the runtime to count as working."""
ROOM_GB = 5
"""Free disk below which a run of the pipeline may fail."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was looked at.
        state: `ok`; `absent`, which only matters to those who want it; `broken`, which is a fault.
        facts: versions, numbers.
        fix: what to do about it; empty where all is well.
    """

    name: str
    state: State
    facts: str
    fix: str = ""


def examine(params: Params) -> Iterator[Finding]:
    """Look at everything, one finding at a time; none raises, and all that stays is an empty folder on the board."""
    model = _lively_model()
    yield Finding("Python", "ok", f"{platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores")
    yield from _pytorch()
    yield _runtime("ONNX Runtime", "onnx", "onnxruntime", "pip install onnxruntime", model)
    yield _runtime("OpenVINO", "openvino", "openvino", "pip install 'yoloslim[runtimes]'", model)
    yield _nncf()
    yield _runtime("ncnn", "ncnn", "ncnn", "pip install 'yoloslim[runtimes]'", model)
    yield _litert(model)
    yield _runtime("TensorRT", "tensorrt", "tensorrt", "pip install 'yoloslim[tensorrt]'", model)
    yield _toolchain("rockchip")
    yield _ais_bench()
    yield _atc(params)
    here = _probe_here(params)
    for maker in _makers(params):
        yield _chip(maker, here)
        yield _board(maker)
    yield _disk()
    yield _tool("git", "versions of code and results", "apt-get install git")
    yield _tool("ssh-keygen", "keys for boards", "apt-get install openssh-client")


def _lively_model() -> Detector:
    """A small untrained model whose signals do not fade on the way, so that runtimes have something to get wrong."""
    torch.manual_seed(0)
    model = build_detector("yolov5n", ("a", "b"), imgsz=64)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # one batch sets the statistics
    with torch.no_grad():
        model.train()(torch.rand(16, 3, 128, 128))
    return model.eval()


def _pytorch() -> Iterator[Finding]:
    yield Finding("PyTorch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        try:
            total = float(torch.ones(8, device="cuda").sum())
            names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
            yield Finding("GPU", "ok" if total == 8 else "broken", names)
        except RuntimeError as error:
            yield Finding("GPU", "broken", str(error).splitlines()[0], "install the driver that fits this PyTorch")
    else:
        built = f"this PyTorch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "PyTorch for CPU only"
        yield Finding("GPU", "absent", built, "none is needed; with one, install PyTorch for its CUDA version")


def _runtime(name: str, file_format: str, package: str, install: str, model: Detector) -> Finding:
    """Export a small model, run it, and compare with PyTorch."""
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "absent", "not installed", install)
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            export_model(model, Path(folder), file_format=file_format)
            found = open_predictor(Path(folder), threads=1).predict(images)
        wanted = TorchPredictor(model).predict(images)
        difference = max(float(np.abs(a - b).max()) for a, b in zip(found, wanted, strict=True))
    except Exception as error:  # whatever a broken installation raises is what we want to show
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Finding(name, "broken", f"{version}: {first}", f"{install} again")
    facts = f"{version}, differs from PyTorch by {difference:.0e}"
    right = difference <= LARGEST_DIFFERENCE
    return Finding(name, "ok" if right else "broken", facts, "" if right else f"{install} again")


def _nncf() -> Finding:
    """Importing it takes seconds and proves little: its version is enough."""
    try:
        return Finding("NNCF", "ok", f"{importlib.metadata.version('nncf')}, makes int8 for OpenVINO")
    except importlib.metadata.PackageNotFoundError:
        return Finding(
            "NNCF", "absent", "not installed, int8 for OpenVINO needs it", "pip install 'yoloslim[runtimes]'"
        )


def _litert(model: Detector) -> Finding:
    """Files for it are made by a toolchain, without which it has nothing to run."""
    if not importlib.util.find_spec("ai_edge_litert"):
        return Finding("LiteRT", "absent", "not installed", "pip install 'yoloslim[litert]'")
    converter = _toolchain("litert")
    if converter.state != "ok":
        return replace(converter, name="LiteRT")
    return _runtime("LiteRT", "litert", "ai-edge-litert", "pip install 'yoloslim[litert]'", model)


def _toolchain(name: str) -> Finding:
    toolchain = TOOLCHAINS[name]
    state = state_of(toolchain)
    facts = f"{toolchain.package} {toolchain.version}: {toolchain.about}"
    if state.word == "installed":
        return Finding(name, "ok", f"{facts}, {state.size_mb:.0f} MB")
    words = "not installed" if state.word == "absent" else "of another yoloslim"
    return Finding(name, "absent", f"{words} ({facts})", toolchain.advice)


def _ais_bench() -> Finding:
    if importlib.util.find_spec("ais_bench") and importlib.util.find_spec("aclruntime"):
        return Finding("ais_bench", "ok", "installed; it is tried when a model is opened")
    return Finding(
        "ais_bench", "absent", "not installed", "only beside a chip: Huawei's wheels aclruntime and ais_bench"
    )


def _atc(params: Params) -> Finding:
    cann = find_cann()
    if cann is None:
        fix = "install Huawei's CANN toolkit, or copy models/atc/<percent> to a machine with it: `bash atc.sh`"
        return Finding("atc", "broken" if params.ascend.require else "absent", "not on the PATH", fix)
    version = f"CANN {cann.version}" if cann.version else "CANN of unknown version"
    return Finding("atc", "ok", f"{cann.atc}, {version}" + (f", by {cann.set_env}" if cann.set_env else ""))


@dataclass(frozen=True)
class _Maker:
    """Whose chips models run on, and where params.yaml says they are.

    Attributes:
        name: the maker.
        backend: what runs models on its chips.
        section: of params.yaml that names the device.
        target: `local`, a board, or a stand-in for both.
        chip: the one that models are compiled for.
        set_env: script that brings the maker's environment.
        python: interpreter of a board.
        require: whether the stage refuses to do without the chip.
    """

    name: str
    backend: Backend
    section: str
    target: str
    chip: str
    set_env: str
    python: str
    require: bool


def _makers(params: Params) -> tuple[_Maker, ...]:
    a, r = params.ascend, params.rknn_eval
    return (
        _Maker("Ascend", "acl", "ascend", a.target, params.atc.soc_version, a.set_env, a.python, a.require),
        _Maker("Rockchip", "rknnlite", "rknn_eval", r.target, params.rknn.target, "", r.python, True),
    )


def _probe_here(params: Params) -> dict[str, Any] | str:
    """What the runner finds on this machine, or why it does not run."""
    try:
        return Local(params.ascend.set_env if params.ascend.target == "local" else "").probe()
    except YoloslimError as error:
        return str(error)


def _chip(maker: _Maker, facts: dict[str, Any] | str) -> Finding:
    name = f"{maker.name} chip here"
    wanted: State = "broken" if maker.require and maker.target == "local" else "absent"
    if isinstance(facts, str):
        return Finding(name, wanted, facts, f"see the message, and {maker.section} in params.yaml")
    fault, way = shortcoming(facts, maker.backend)
    if fault:
        return Finding(name, wanted, fault, f"beside a chip: {way}")
    return _with_chip(name, maker, facts, ())


def _board(maker: _Maker) -> Finding:
    name, setting = f"{maker.name} board", f"{maker.section}.target"
    if not maker.target.startswith("ssh:"):
        return Finding(name, "absent", f"{setting} is {maker.target}", f"name one: {setting}=ssh://user@host")
    try:
        target = parse_target(maker.target, setting)
        assert target is not None
        facts = Board(target, maker.set_env, maker.python, section=maker.section).probe()
    except YoloslimError as error:
        return Finding(name, "broken", str(error), "see the message; `ssh` with the same user and host helps")
    has = f"{target}: Python {facts['python']}, numpy {facts['numpy']}", f"{facts['free_bytes'] / 1e9:.1f} GB free"
    fault, way = shortcoming(facts, maker.backend)
    if fault:
        return Finding(name, "broken", f"{', '.join(has)}; {fault}", way)
    return _with_chip(name, maker, facts, has)


def _with_chip(name: str, maker: _Maker, facts: dict[str, Any], has: tuple[str, ...]) -> Finding:
    """A device that works; broken if models are compiled for another chip and are to run on it."""
    chip = facts["chip"]
    devices = (f"{facts['devices']} devices",) if maker.backend == "acl" else ()
    said = ", ".join((*has, *devices, chip or "chip unknown"))
    if chip and chip != maker.chip and (has or maker.target == "local"):
        return Finding(name, "broken", said, f"{CHIP[maker.backend]}={chip}, and compile again")
    return Finding(name, "ok", said)


def _disk() -> Finding:
    free = shutil.disk_usage(".").free / 1e9
    if free < ROOM_GB:
        return Finding("disk", "broken", f"{free:.1f} GB free here", f"make room for {ROOM_GB} GB; `dvc gc -w` helps")
    return Finding("disk", "ok", f"{free:.0f} GB free here")


def _tool(name: str, purpose: str, fix: str) -> Finding:
    path = shutil.which(name)
    return Finding(name, "ok" if path else "absent", path or f"not installed ({purpose})", "" if path else fix)
