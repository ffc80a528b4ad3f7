"""Small graphs in LiteRT's format, operator by operator: a chain, which is what single layers are timed as."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SCHEMA = 3
"""Version of the format that LiteRT reads."""


class TfliteGraph:
    """A chain of operators on tensors (1, rows, columns, channels), float32.

    Attributes:
        last: number of the tensor that the chain gives so far.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Begin with an input."""
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._buffers = [schema.BufferT()]  # the first is of tensors that hold nothing
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: dict[int, int] = {}
        self.last = self._tensor(shape)

    def pad(self, rows: int, columns: int) -> int:
        """Zeros around the last tensor; gives the new tensor's number."""
        s, (n, height, width, channels) = self._schema, self._shape(self.last)
        sides = self._constant(np.array([[0, 0], [rows, rows], [columns, columns], [0, 0]], np.int32))
        out = self._tensor((n, height + 2 * rows, width + 2 * columns, channels))
        self._operate(s.BuiltinOperator.PAD, [self.last, sides], out, s.BuiltinOptions.PadOptions, s.PadOptionsT())
        return out

    def convolve(
        self,
        blob: int,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        stride: tuple[int, int],
        depthwise: bool = False,
    ) -> None:
        """A convolution without padding.

        Args:
            blob: number of the tensor that it reads.
            weight: (out, rows, columns, in); (1, rows, columns, out) where every channel goes by itself.
            bias: (out,).
            stride: rows and columns.
            depthwise: whether every channel goes by itself.
        """
        s, (n, *sides, _) = self._schema, self._shape(blob)
        kinds, codes = s.BuiltinOptions, s.BuiltinOperator
        code, kind, options = codes.CONV_2D, kinds.Conv2DOptions, s.Conv2DOptionsT()
        if depthwise:
            code, kind = codes.DEPTHWISE_CONV_2D, kinds.DepthwiseConv2DOptions
            options = s.DepthwiseConv2DOptionsT()
            options.depthMultiplier = 1
        options.padding, (options.strideH, options.strideW) = s.Padding.VALID, stride
        options.dilationHFactor = options.dilationWFactor = 1
        left = ((side - k) // step + 1 for side, k, step in zip(sides, weight.shape[1:3], stride, strict=True))
        out = self._tensor((n, *left, len(bias)))
        self._operate(code, [blob, self._constant(weight), self._constant(bias)], out, kind, options)

    def silu(self) -> None:
        """The last tensor times its own logistic function."""
        s, x = self._schema, self.last
        gate, out = self._tensor(self._shape(x)), self._tensor(self._shape(x))
        self._operate(s.BuiltinOperator.LOGISTIC, [x], gate)
        self._operate(s.BuiltinOperator.MUL, [x, gate], out, s.BuiltinOptions.MulOptions, s.MulOptionsT())

    def serialise(self) -> bytes:
        """The file."""
        import flatbuffers  # type: ignore[import-untyped]

        s = self._schema
        graph, model = s.SubGraphT(), s.ModelT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = np.array([0], np.int32), np.array([self.last], np.int32)
        model.version, model.subgraphs, model.buffers = _SCHEMA, [graph], self._buffers
        model.operatorCodes = [self._code(code) for code in self._codes]
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _code(self, builtin: int) -> Any:
        code = self._schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = 1
        return code

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self._tensors[tensor].shape.tolist())

    def _tensor(self, shape: tuple[int, ...], buffer: int = 0, kind: int | None = None) -> int:
        tensor = self._schema.TensorT()
        tensor.shape, tensor.buffer = np.array(shape, np.int32), buffer
        tensor.type = self._schema.TensorType.FLOAT32 if kind is None else kind
        tensor.name = f"t{len(self._tensors)}".encode()
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _constant(self, values: NDArray[Any]) -> int:
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._buffers.append(buffer)
        types = self._schema.TensorType
        return self._tensor(values.shape, len(self._buffers) - 1, types.INT32 if values.dtype == np.int32 else None)

    def _operate(self, code: int, inputs: list[int], out: int, kind: int = 0, options: Any = None) -> None:
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault(code, len(self._codes))
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([out], np.int32)
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self._operators.append(operator)
        self.last = out
