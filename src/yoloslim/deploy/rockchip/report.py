"""What rknn-toolkit2 prints, as data: layers and where they run, memory, and what quantisation costs each layer."""

import re
from dataclasses import dataclass

from onnx import ModelProto

from yoloslim.deploy.names import layer_of

_LAYER = re.compile(
    r"^D RKNN: \[[^\]]*\] (?P<number>\d+) +(?P<kind>\S+) +(?P<type>\S+) +(?P<where>CPU|NPU|GPU) +\S+ +\S+ +"
    r"(?P<ddr>\d+)/(?P<npu>\d+)/(?P<total>\d+) +(?P<kb>[\d.]*) *(?P<name>\S+)$",
    re.MULTILINE,
)
_MEMORY = re.compile(r"Total (?P<what>Internal|Weight) Memory Size: (?P<kb>[\d.]+)KB")
_ERROR = re.compile(
    r"^\[(?P<kind>\w+)\] (?P<tensor>\S+) +(?P<entire>[\d.]+) \| +[\d.]+ +(?P<single>[\d.]+) \| +[\d.]+ *$", re.MULTILINE
)
_ENDS = ("InputOperator", "OutputOperator")


@dataclass(frozen=True)
class Layer:
    """A layer of a compiled graph.

    Attributes:
        name: of our model, such as `model.4.cv1.conv`.
        kind: the toolkit's, such as `ConvExSwish`.
        type: of its values, FLOAT16 or INT8.
        where: NPU, or CPU for what the NPU does not take.
        cycles: as the toolkit foresees them, the larger of arithmetic and memory.
        rw_kb: moved to and from memory, 1024 bytes.
    """

    name: str
    kind: str
    type: str
    where: str
    cycles: int
    rw_kb: float


@dataclass(frozen=True)
class Compiled:
    """What the toolkit says of a compiled graph.

    Attributes:
        layers: in order.
        internal_kb: memory for what layers hand on, 1024 bytes.
        weight_kb: memory for weights, 1024 bytes.
    """

    layers: tuple[Layer, ...]
    internal_kb: float
    weight_kb: float

    @property
    def off_npu(self) -> tuple[Layer, ...]:
        """Layers that the NPU does not take, but for the change of shape that hands over an output."""
        return tuple(layer for layer in self.layers if layer.where != "NPU" and layer.kind != "Reshape")


@dataclass(frozen=True)
class Loss:
    """What quantisation costs a tensor.

    Attributes:
        tensor: of the graph.
        single: 1 - cosine of what its layer alone does wrong, inputs being right.
        entire: likewise with all that came before.
    """

    tensor: str
    single: float
    entire: float


def parse_compiled(log: str) -> Compiled:
    """The last tables of layers and memory in a log; zeros where there are none."""
    layers: list[Layer] = []
    for found in _LAYER.finditer(log):
        if found["number"] == "0":
            layers = []
        if found["kind"] not in _ENDS:
            name = layer_of(found["name"])
            kb = float(found["kb"] or 0)
            layers.append(Layer(name, found["kind"], found["type"], found["where"], int(found["total"]), kb))
    memory = {found["what"]: float(found["kb"]) for found in _MEMORY.finditer(log)}
    return Compiled(tuple(layers), memory.get("Internal", 0.0), memory.get("Weight", 0.0))


def parse_losses(table: str) -> tuple[Loss, ...]:
    """The toolkit's table of layers and their errors, in the order of the graph."""
    return tuple(
        Loss(found["tensor"], round(1 - float(found["single"]), 6), round(1 - float(found["entire"]), 6))
        for found in _ERROR.finditer(table)
        if found["kind"] not in ("Input", "exDataConvert")
    )


def refused_layers(said: str, model: ModelProto) -> tuple[str, ...]:
    """Operations of a graph that a refusal is about, each with its layer: `Hardmax of model.4.act`.

    They are the nodes that it names, by themselves or by what they give; where it names none, all that ONNX itself does
    not know, on which the toolkit stumbles without a name.
    """
    words = set(re.findall(r"[^\s'\"(),:]+", said))
    nodes = model.graph.node
    named = [node for node in nodes if node.name in words] or [
        node for node in nodes if words.intersection(node.output)
    ]
    found = named or [node for node in nodes if node.domain not in ("", "ai.onnx")]
    return tuple(dict.fromkeys(f"{node.op_type} of {layer_of(node.name or node.output[0])}" for node in found))
