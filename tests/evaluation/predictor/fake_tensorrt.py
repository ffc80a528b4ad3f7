"""A fake of TensorRT 11's Python package and of the GPU's memory, for machines without an NVIDIA GPU.

It has the calls that yoloslim makes, by the names and with the arguments of NVIDIA's documentation and of the wheel
`tensorrt-cu12-bindings` 11.4, and refuses what TensorRT refuses: networks that are not strongly typed, zero points,
biases quantised to int32, open sides without a profile, addresses that are not set. An engine of it is the ONNX graph
behind a mark, computed by ONNX Runtime. What a GPU computes, and how fast, it cannot tell.
"""

import ctypes
import enum
import json
import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from yoloslim.evaluation.predictor import tensorrt as ours
from yoloslim.evaluation.predictor.onnxruntime import open_session

MARK = b"fake engine of TensorRT 11\n"


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class ILogger:
    Severity = Severity

    def log(self, severity: Severity, text: str) -> None:
        raise NotImplementedError  # of the caller's class


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(enum.IntEnum):
    TF32 = 0


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class Builder:
    def __init__(self, log: ILogger) -> None:
        self.log = log

    def create_network(self, flags: int) -> SimpleNamespace:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return SimpleNamespace(graph=None)

    def create_builder_config(self) -> "Config":
        return Config()

    def create_optimization_profile(self) -> "Profile":
        return Profile()

    def build_serialized_network(self, network: SimpleNamespace, config: "Config") -> bytes | None:
        assert BuilderFlag.TF32 not in config.flags
        self.log.log(Severity.WARNING, "a warning is no error")
        given = network.graph.graph.input[0]
        batch = given.type.tensor_type.shape.dim[0].dim_value
        if not batch and given.name not in config.shapes:
            self.log.log(Severity.ERROR, "Network has dynamic inputs, but no optimization profile has been defined.")
            return None
        return MARK + json.dumps(config.shapes).encode() + b"\n" + network.graph.SerializeToString()


class Config:
    def __init__(self) -> None:
        self.flags, self.shapes = {BuilderFlag.TF32}, dict[str, list[tuple[int, ...]]]()

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def add_optimization_profile(self, profile: "Profile") -> int:
        self.shapes = profile.shapes
        return 0


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, name: str, least: Any, usual: Any, most: Any) -> None:
        self.shapes[name] = [tuple(least), tuple(usual), tuple(most)]


class OnnxParser:
    def __init__(self, network: SimpleNamespace, log: ILogger) -> None:
        self._network, self._errors = network, list[str]()

    def parse(self, data: bytes) -> bool:
        graph = onnx.load_from_string(data)
        constants = {each.name: numpy_helper.to_array(each) for each in graph.graph.initializer}
        for node in graph.graph.node:
            if node.domain not in ("", "ai.onnx"):
                self._errors.append(f"node {node.name}: no importer registered for op {node.op_type}")
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                zero = constants.get(node.input[2]) if len(node.input) > 2 else None
                if zero is None or np.any(zero) or zero.dtype != np.int8:
                    self._errors.append(f"node {node.name}: only symmetric int8 is supported")
        self._network.graph = graph
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(desc=lambda: self._errors[index])


class Runtime:
    def __init__(self, log: ILogger) -> None:
        self.log = log

    def deserialize_cuda_engine(self, plan: bytes) -> "Engine | None":
        if not plan.startswith(MARK):
            self.log.log(Severity.ERROR, "Serialization assertion failed: Version tag does not match.")
            return None
        shapes, graph = plan.removeprefix(MARK).split(b"\n", 1)
        return Engine(graph, json.loads(shapes), self.log)


class Engine:
    def __init__(self, graph: bytes, shapes: dict[str, list[list[int]]], log: ILogger) -> None:
        self.session, self.shapes, self.log = open_session(graph, 1), shapes, log
        self.io = {each.name: each for each in (*self.session.get_inputs(), *self.session.get_outputs())}

    @property
    def num_io_tensors(self) -> int:
        return len(self.io)

    def get_tensor_name(self, index: int) -> str:
        return list(self.io)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == self.session.get_inputs()[0].name else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(side if isinstance(side, int) else -1 for side in self.io[name].shape)

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        assert profile == 0
        return [tuple(shape) for shape in self.shapes[name]]

    def create_execution_context(self) -> "Context":
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.batch = engine, 0
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.batch = shape[0]
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.batch if side < 0 else side for side in self.engine.get_tensor_shape(name))

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == Stream.cuda_stream
        given, *_ = self.engine.session.get_inputs()
        most = self.engine.shapes.get(given.name, [[self.batch]])[-1][0]
        if self.addresses.keys() != self.engine.io.keys() or self.batch > most:
            self.engine.log.log(Severity.ERROR, f"enqueueV3: batch {self.batch}, the profile has {most}")
            return False
        names = [each.name for each in self.engine.session.get_outputs()]
        found = self.engine.session.run(names, {given.name: self._at(given.name)})
        for name, value in zip(names, found, strict=True):
            self._at(name)[:] = value
        return True

    def _at(self, name: str) -> np.ndarray:
        shape = self.get_tensor_shape(name)
        start = ctypes.cast(self.addresses[name], ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(start, shape)


class Stream:
    cuda_stream = 7

    def synchronize(self) -> None:
        """Nothing is under way."""


def load_fake_tensorrt(patch: pytest.MonkeyPatch) -> None:
    """Make `import tensorrt` find this, and PyTorch a GPU whose memory is the machine's."""
    fake: Any = ModuleType("tensorrt")
    for kind in (ILogger, NetworkDefinitionCreationFlag, BuilderFlag, TensorIOMode, Builder, OnnxParser, Runtime):
        setattr(fake, kind.__name__, kind)
    patch.setitem(sys.modules, "tensorrt", fake)
    patch.setattr(ours, "DEVICE", "cpu")
    patch.setattr(torch.cuda, "is_available", lambda: True)
    patch.setattr(torch.cuda, "Stream", Stream)
    patch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
