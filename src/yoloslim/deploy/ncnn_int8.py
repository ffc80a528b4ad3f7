"""int8 for ncnn, written without its command line tools, which no Python package holds.

ncnn reads a quantised convolution from the same two files. In the text, key 8 is 2. In the binary, the weights carry
the tag of int8 data, and after the bias follow one scale an output channel and one of the input; a scale maps a real
value to its integer, 127 standing for the largest. Layers between convolutions compute at fp32.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yoloslim.deploy.ncnn import BIN, PARAM
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats

_INT8_TAG = 0x000D4B38
_WEIGHT_TAG_BYTES = 4
_WITH_WEIGHTS = ("Convolution", "ConvolutionDepthWise")
_OTHERS_WITH_WEIGHTS = ("BatchNorm", "Deconvolution", "InnerProduct", "MemoryData", "PReLU", "Scale")


@dataclass
class _Layer:
    """A line of the text file: kind, name, blobs it reads, blobs it gives, numbered parameters."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    values: dict[str, str]

    def line(self) -> str:
        values = [f"{key}={value}" for key, value in self.values.items()]
        counts = [str(len(self.inputs)), str(len(self.outputs))]
        return " ".join([self.kind, self.name, *counts, *self.inputs, *self.outputs, *values])


@dataclass
class _Weights:
    layer: _Layer
    weight: Floats
    bias: Floats


def quantize_ncnn(source: Path, folder: Path, feeds: Iterator[Floats], keep_fp32: int) -> list[str]:
    """Write the int8 version of an fp32 ncnn model.

    Args:
        source: folder of the fp32 files.
        folder: where the new ones go.
        feeds: calibration inputs, float32 (1, 3, S, S).
        keep_fp32: so many convolutions at the end stay as they are: the heads.

    Returns:
        Names of the files.

    Raises:
        DeployError: the model holds a layer with weights that is not known here.
    """
    head, layers = _read_param(source / PARAM)
    weights = _read_bin(source / BIN, layers)
    dense = [w for w in weights if w.layer.kind == "Convolution"]
    chosen = {w.layer.name for w in dense[: len(dense) - keep_fp32]}
    peaks = _peaks(source, {w.layer.inputs[0] for w in weights if w.layer.name in chosen}, feeds)
    with (folder / BIN).open("wb") as stream:
        for item in weights:
            if item.layer.name in chosen:
                item.layer.values["8"] = "2"
                stream.write(_int8_bytes(item, peaks[item.layer.inputs[0]]))
            else:
                stream.write(bytes(_WEIGHT_TAG_BYTES) + item.weight.tobytes() + item.bias.tobytes())
    (folder / PARAM).write_text("\n".join([*head, *(layer.line() for layer in layers)]) + "\n", encoding="utf-8")
    return [PARAM, BIN]


def _read_param(path: Path) -> tuple[list[str], list[_Layer]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    layers = []
    for line in lines[2:]:
        kind, name, reads, gives, *rest = line.split()
        inputs, outputs = rest[: int(reads)], rest[int(reads) : int(reads) + int(gives)]
        values = dict(word.split("=", 1) for word in rest[len(inputs) + len(outputs) :])
        layers.append(_Layer(kind, name, inputs, outputs, values))
    return lines[:2], layers


def _read_bin(path: Path, layers: list[_Layer]) -> list[_Weights]:
    data, position, found = path.read_bytes(), 0, []

    def floats(count: int) -> Floats:
        nonlocal position
        values = np.frombuffer(data, np.float32, count, position)
        position += values.nbytes
        return values

    for layer in layers:
        if layer.kind in _OTHERS_WITH_WEIGHTS:
            raise DeployError(f"{path.parent}: cannot quantise a model with a layer {layer.kind} ({layer.name})")
        if layer.kind in _WITH_WEIGHTS:
            tag = int.from_bytes(data[position : position + _WEIGHT_TAG_BYTES], "little")
            if tag != 0:
                raise DeployError(f"{path} does not hold fp32 weights (tag {tag:#x}); export the model again")
            position += _WEIGHT_TAG_BYTES
            channels = int(layer.values["0"])
            weight = floats(int(layer.values["6"])).reshape(channels, -1)
            found.append(_Weights(layer, weight, floats(channels if layer.values.get("5") == "1" else 0)))
    if position != len(data):
        raise DeployError(f"{path} holds {len(data)} bytes where its text describes {position}; export the model again")
    return found


def _peaks(source: Path, blobs: set[str], feeds: Iterator[Floats]) -> dict[str, float]:
    """Largest magnitude of each blob over the calibration images."""
    import ncnn

    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = 1
    net.opt.lightmode = False  # keeps every blob until it has been read
    net.load_param(str(source / PARAM))
    net.load_model(str(source / BIN))
    peaks = dict.fromkeys(blobs, 0.0)
    for feed in feeds:
        extractor = net.create_extractor()
        extractor.input(net.input_names()[0], ncnn.Mat(feed[0]))
        for blob in blobs:
            peaks[blob] = max(peaks[blob], _peak(extractor.extract(blob)[1]))
    return peaks


def _peak(values: Any) -> float:
    return float(np.abs(np.array(values)).max())


def _int8_bytes(item: _Weights, peak: float) -> bytes:
    weight_scale = _scale(np.abs(item.weight).max(axis=1), item.layer)
    integers: bytes = np.rint(item.weight * weight_scale[:, None]).clip(-127, 127).astype(np.int8).tobytes()
    padding = bytes(-len(integers) % 4)
    input_scale = np.array([127 / max(peak, 1e-9)], np.float32)
    tag: bytes = _INT8_TAG.to_bytes(_WEIGHT_TAG_BYTES, "little")
    return tag + integers + padding + item.bias.tobytes() + weight_scale.tobytes() + input_scale.tobytes()


def _scale(peak: NDArray[np.float32], layer: _Layer) -> Floats:
    """Integers a unit. 3 x 3 kernels get 6 bits: ncnn transforms them (Winograd) in integers, which then overflow."""
    winograd = layer.values.get("1") == "3" and layer.values.get("3", "1") == "1"
    return (np.float32(31 if winograd else 127) / np.maximum(peak, 1e-9)).astype(np.float32)
