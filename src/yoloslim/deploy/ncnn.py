"""ncnn's format, `model.ncnn.param` (text) and `model.ncnn.bin` (weights), converted by pnnx at fp32 or fp16."""

import importlib.util
import os
import subprocess
import tempfile
from pathlib import Path

import onnx

from yoloslim.choices import Weights
from yoloslim.errors import DeployError

PARAM, BIN = "model.ncnn.param", "model.ncnn.bin"
_TIMEOUT_S = 600


def write_ncnn(graph: onnx.ModelProto, folder: Path, weights: Weights = "fp32") -> list[str]:
    """Convert an ONNX graph with one input and a fixed size into `folder`, weights stored as asked for.

    Raises:
        DeployError: pnnx is not installed, or failed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)  # pnnx leaves five other files beside its result
        (work / "model.onnx").write_bytes(graph.SerializeToString())
        _run_pnnx(work, weights)
        (folder / PARAM).write_text(_with_names((work / PARAM).read_text(encoding="utf-8"), graph), encoding="utf-8")
        (folder / BIN).write_bytes((work / BIN).read_bytes())
    return [PARAM, BIN]


def _run_pnnx(folder: Path, weights: Weights) -> None:
    try:
        done = subprocess.run(
            [str(_pnnx()), "model.onnx", f"fp16={int(weights == 'fp16')}"],
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeployError(f"pnnx did not run: {error}") from error
    if done.returncode or not (folder / PARAM).is_file() or not (folder / BIN).is_file():
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise DeployError(f"pnnx cannot convert the graph (exit code {done.returncode}): {last}")


def _pnnx() -> Path:
    """The binary inside the Python package; importing the package would only load PyTorch once more."""
    found = importlib.util.find_spec("pnnx")
    if found is None or found.origin is None:
        raise DeployError("pnnx, which converts for ncnn, is not installed; pip install 'yoloslim[runtimes]'")
    return Path(found.origin).parent / ("pnnx.exe" if os.name == "nt" else "pnnx")


def _with_names(param: str, graph: onnx.ModelProto) -> str:
    """Give input and outputs the names of the graph, where pnnx numbers them, and state the input's size."""
    _, channels, height, width = (side.dim_value for side in graph.graph.input[0].type.tensor_type.shape.dim)
    names = {"in0": graph.graph.input[0].name} | {f"out{i}": o.name for i, o in enumerate(graph.graph.output)}
    lines = []
    for line in param.splitlines():
        words = [names.get(word, word) for word in line.split()]
        if words[0] == "Input":
            words += [f"0={width}", f"1={height}", f"2={channels}"]
        lines.append(" ".join(words))
    return "\n".join(lines) + "\n"
