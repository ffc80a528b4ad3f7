"""Runs inside the toolchain `rockchip`: ONNX to .rknn, and the compiled graph in the simulator, by rknn-toolkit2.

int8 goes by the toolkit's two steps: the first takes ranges from images and leaves three files (`GRAPH`), the second
compiles them. The simulator cannot load an .rknn, so it compiles the same files again.
"""

from __future__ import annotations

import os
import re
import tempfile
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import numpy as np

GRAPH = ("quantized.model", "quantized.data", "quantized.cfg")
_CHOSEN = "custom_quantize_layers"
_FAILING_RULE = "fuse_exmatmul_add_mul_exsoftmax13_exmatmul_to_sdpa"
"""An optimisation of 2.5.0 that ends with an IndexError at the attention of YOLO11 and YOLO26."""
_OPENED: list[Any] = []


class Refused(Exception):
    """A reason for people."""


def version() -> str:
    """Of rknn-toolkit2."""
    return version_of("rknn-toolkit2")


def compile_fp16(_: Any, source: str, target: str, chip: str) -> tuple[dict[str, Any], list[Any]]:
    """Compile an ONNX file whose input is RGB in [0, 1]; the compiled graph takes bytes."""
    model = _loaded(source, chip)
    _do("compiling", model.build, do_quantization=False)
    _do("writing the model", model.export_rknn, target)
    return {}, []


def quantize(arrays: Any, source: str, folder: str, chip: str) -> tuple[dict[str, Any], list[Any]]:
    """Take ranges from images uint8 (N, S, S, 3) and leave the quantised graph in a folder."""
    model = _loaded(source, chip)
    with tempfile.TemporaryDirectory() as temporary:
        listed = _as_files(arrays[0], Path(temporary))
        here = Path.cwd()
        os.chdir(temporary)  # the toolkit writes where it stands
        try:
            _do("quantising", model.hybrid_quantization_step1, dataset=str(listed))
        finally:
            os.chdir(here)
        stem = Path(source).stem
        found = [Path(temporary) / f"{stem}{suffix}" for suffix in (".model", ".data", ".quantization.cfg")]
        for file, name in zip(found, GRAPH, strict=True):
            (Path(folder) / name).write_bytes(file.read_bytes())
    return {}, []


def set_ranges(_: Any, folder: str, ranges: dict[str, list[float]]) -> tuple[dict[str, Any], list[Any]]:
    """Let a quantised graph cover these ranges (least and largest value) of tensors: which of them it has.

    What the toolkit gave the same range (a pooling's input and output) keeps the same.
    """
    from ruamel.yaml import YAML

    path, yaml = Path(folder) / GRAPH[2], YAML()
    yaml.indent(mapping=4, sequence=4)  # as the toolkit writes it
    config = yaml.load(path.read_text(encoding="utf-8"))
    tensors = {name: found for name, found in config["quantize_parameters"].items() if found["scale"]}
    alike = {_range(tensors[name]): wanted for name, wanted in ranges.items() if name in tensors}
    for name, found in tensors.items():
        wanted = ranges.get(name) or alike.get(_range(found))
        if wanted:
            found["min"][0], found["max"][0] = wanted  # the toolkit makes scale and zero point of these
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(config, stream)
    return {"tensors": [name for name in ranges if name in tensors]}, []


def keep_fp16(_: Any, folder: str, tensors: list[str], heads: list[str]) -> tuple[dict[str, Any], list[Any]]:
    """Let a quantised graph compute some tensors in fp16, and all whose names begin as those of heads do: which."""
    path = Path(folder) / GRAPH[2]
    text = path.read_text(encoding="utf-8")
    if not text.startswith(f"{_CHOSEN}: {{}}\n"):
        raise Refused(f"{GRAPH[2]} does not begin as this toolkit writes it")
    known = re.findall(r"^    (\S+):$", text, re.MULTILINE)
    chosen = [name for name in known if name in tensors or name.startswith(tuple(heads))]
    lines = "".join(f"    {_quoted(name)}: float16\n" for name in chosen)
    path.write_text(f"{_CHOSEN}:\n{lines}" + text.split("\n", 1)[1] if chosen else text, encoding="utf-8")
    return {"tensors": chosen}, []


def compile_quantized(_: Any, folder: str, target: str) -> tuple[dict[str, Any], list[Any]]:
    """Compile a quantised graph."""
    _do("writing the model", _quantized(folder).export_rknn, target)
    return {}, []


def sensitivity(arrays: Any, folder: str) -> tuple[dict[str, Any], list[Any]]:
    """The toolkit's table of what quantisation costs each layer, on one image uint8 (1, S, S, 3)."""
    model = _quantized(folder)
    with tempfile.TemporaryDirectory() as temporary:
        _as_files(arrays[0], Path(temporary))
        snapshot = Path(temporary) / "snapshot"
        image = [str(Path(temporary) / "0.npy")]
        _do("measuring the layers", model.accuracy_analysis, inputs=image, output_dir=str(snapshot))
        return {"table": (snapshot / "error_analysis.txt").read_text(encoding="utf-8")}, []


def simulate(_: Any, source: str, folder: str, chip: str) -> tuple[dict[str, Any], list[Any]]:
    """Open a model in the simulator: the ONNX file, or the quantised graph in a folder where one is named."""
    if folder:
        model = _quantized(folder)
    else:
        model = _loaded(source, chip)
        _do("compiling", model.build, do_quantization=False)
    _do("starting the simulator", model.init_runtime)
    _OPENED[:] = [model]
    return {}, []


def run(arrays: Any) -> tuple[dict[str, Any], list[Any]]:
    """Outputs of the opened model for images uint8 (N, S, S, 3), in the order of the graph."""
    found = [_OPENED[0].inference([image[None]], data_format=["nhwc"]) for image in arrays[0]]
    return {}, [np.concatenate(level).astype(np.float32) for level in zip(*found, strict=True)]


def self_test(arrays: Any, source: str) -> tuple[dict[str, Any], list[Any]]:
    """Compile a graph for RK3588 in fp16 and simulate it on a float image (1, 3, S, S)."""
    from rknn.api import RKNN

    model = RKNN(verbose=False)
    _do("configuring", model.config, target_platform="rk3588")
    _do("reading the graph", model.load_onnx, source)
    _do("compiling", model.build, do_quantization=False)
    _do("starting the simulator", model.init_runtime)
    return {}, model.inference([arrays[0]], data_format=["nchw"])


def _loaded(source: str, chip: str) -> Any:
    from rknn.api import RKNN

    model = RKNN(verbose=True)  # its tables of layers and memory are printed only so
    scaled = {"mean_values": [[0, 0, 0]], "std_values": [[255, 255, 255]]}
    _do("configuring", model.config, **scaled, target_platform=chip, disable_rules=[_FAILING_RULE])
    _do("reading the graph", model.load_onnx, source)
    return model


def _quantized(folder: str) -> Any:
    from rknn.api import RKNN

    model = RKNN(verbose=True)
    graph, data, config = (str(Path(folder) / name) for name in GRAPH)
    _do("compiling", model.hybrid_quantization_step2, graph, data, config)
    return model


def _do(what: str, function: Any, *arguments: Any, **options: Any) -> None:
    """A call of the toolkit, which fails by a number or by an exception that holds a whole traceback as text."""
    try:
        status = function(*arguments, **options)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip() and "\x1b" not in line]
        lines = [line for line in lines if not line.startswith("I ====")] or [type(error).__name__]
        start = max((i for i, line in enumerate(lines) if "Error:" in line), default=len(lines) - 1)
        raise Refused(f"{what}: {' '.join(lines[start:])}") from error
    if status:
        raise Refused(f"{what} failed with status {status}")


def _as_files(images: np.ndarray, folder: Path) -> Path:
    """Images uint8 (N, S, S, 3) as files of the graph's layout, and the list that names them."""
    for number, image in enumerate(images):
        np.save(str(folder / f"{number}.npy"), np.ascontiguousarray(image[None].transpose(0, 3, 1, 2)))
    listed = folder / "images.txt"
    listed.write_text("".join(f"{folder / str(n)}.npy\n" for n in range(len(images))), encoding="utf-8")
    return listed


def _range(found: Any) -> tuple[float, float]:
    return found["min"][0], found["max"][0]


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


COMMANDS = {
    "compile_fp16": compile_fp16,
    "quantize": quantize,
    "set_ranges": set_ranges,
    "keep_fp16": keep_fp16,
    "compile_quantized": compile_quantized,
    "sensitivity": sensitivity,
    "simulate": simulate,
    "run": run,
    "self_test": self_test,
}
