"""Write a model as Darknet's files, so that it can be finetuned there: `.cfg`, `.weights`, `.names`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

from torch import nn

from yoloslim.conv import Conv
from yoloslim.errors import WeightsError
from yoloslim.files import write_text
from yoloslim.heads import AnchorHead
from yoloslim.heads.anchor_network import Detect
from yoloslim.models.blocks import Add, Bottleneck, FlatReorg, GlobalPool, MaxPool, Reorg, Slice
from yoloslim.models.detector import Detector
from yoloslim.models.foreign.darknet.convolution import ACTIVATIONS
from yoloslim.models.foreign.darknet.known import BN_EPS
from yoloslim.models.foreign.darknet.weights import filters, head_levels, save_weights

NAMES: Mapping[str, str] = MappingProxyType({ours: theirs for theirs, ours in ACTIVATIONS.items()})
CLASSES: Mapping[type, str] = MappingProxyType(
    {nn.LeakyReLU: "leaky", nn.Mish: "mish", nn.Identity: "linear", nn.ReLU: "relu", nn.SiLU: "silu"}
    | {nn.Sigmoid: "sigmoid", nn.ReLU6: "relu6"}
)
"""Our names of activations by their class."""

NET = (
    ("batch", 64),
    ("subdivisions", 16),
    ("channels", 3),
    ("momentum", 0.949),
    ("decay", 0.0005),
    ("saturation", 1.5),
    ("exposure", 1.5),
    ("hue", 0.1),
    ("learning_rate", 0.001),
    ("burn_in", 1000),
)
"""What Darknet trains with; people edit it there."""

Options = list[tuple[str, object]]


def export_darknet(model: Detector, cfg: Path) -> list[Path]:
    """Write `cfg`, and beside it `.weights` and `.names`.

    Args:
        model: of Darknet's layers (YOLOv3, YOLOv4 and their tiny ones), pruned or not; unchanged.
        cfg: where to; the others have the same stem.

    Returns:
        The three files.

    Raises:
        WeightsError: a layer, activation or BatchNorm that Darknet does not have.
    """
    text = cfg_text(model)
    weights, names = cfg.with_suffix(".weights"), cfg.with_suffix(".names")
    save_weights(model, weights)
    write_text(names, "".join(f"{name}\n" for name in model.spec.classes))
    write_text(cfg, text)
    return [cfg, weights, names]


def cfg_text(model: Detector) -> str:
    """The network as a cfg, with the channels that pruning left.

    Raises:
        WeightsError: as `export_darknet`.
    """
    spec = model.spec
    for name, _, norm in filters(model):
        if norm is not None and abs(norm.eps - BN_EPS) > 1e-9:
            raise WeightsError(f"{name}: Darknet adds {BN_EPS:g} to the variance, this model {norm.eps:g}")
    writer = _Writer(model)
    size: Options = [("width", spec.imgsz), ("height", spec.imgsz)]
    steps = ("steps", f"{spec.nc * 1600},{spec.nc * 1800}")
    schedule: Options = [("max_batches", spec.nc * 2000), ("policy", "steps"), steps, ("scales", ".1,.1")]
    writer.sections.append(("net", [*size, *NET, *schedule]))
    for index in range(len(spec.layers) - 1):
        writer.add(index)
    return "\n".join(
        f"[{kind}]\n" + "".join(f"{key}={value}\n" for key, value in options) for kind, options in writer.sections
    )


class _Writer:
    """Sections of a cfg, made layer by layer."""

    def __init__(self, model: Detector) -> None:
        self.model, self.spec = model, model.spec
        self.sections: list[tuple[str, Options]] = []
        self.outputs: list[int] = []  # by layer: the section that computes it, counted without [net]

    def add(self, index: int) -> None:
        """Write the next layer, and the heads that read it."""
        module, layer = self.model.model[index], self.spec.layers[index]
        sections = [self.outputs[each] for each in layer.inputs] if index else []
        if layer.block == "Concat":
            self._write("route", [("layers", _joined(sections))])
        elif isinstance(module, Slice):
            numbers: Options = [("groups", module.groups), ("group_id", module.groups - 1)]
            self._write("route", [("layers", sections[0]), *numbers])
        elif layer.block in ("Add", "Mul"):
            self._read(sections[0])
            kind = "shortcut" if isinstance(module, Add) else self._product(layer.inputs[0] % index)
            activation = NAMES[CLASSES[type(module.act)]] if isinstance(module, Add) else "linear"
            self._write(kind, [("from", sections[1]), ("activation", activation)])
        else:
            if sections:
                self._read(sections[0])
            self._single(module)
        self.outputs.append(self._last())
        for level in head_levels(self.model, index):
            self._head(level)

    def _single(self, module: nn.Module) -> None:
        """A layer that reads the section before it."""
        if isinstance(module, Conv):
            self._convolution(module)
        elif isinstance(module, nn.Sequential):
            for unit in module:
                if isinstance(unit, Bottleneck):  # a removed unit leaves the identity, which needs no section
                    self._convolution(unit.cv1)
                    self._convolution(unit.cv2)
                    self._write("shortcut", [("from", -3), ("activation", "linear")])
        elif isinstance(module, MaxPool):
            self._write("maxpool", [("size", module.kernel), ("stride", module.stride)])
        elif isinstance(module, GlobalPool):
            self._write("avgpool", [])
        elif isinstance(module, Reorg | FlatReorg):
            self._write("reorg" if isinstance(module, FlatReorg) else "reorg3d", [("stride", 2)])
        else:
            self._write("upsample", [("stride", 2)])

    def _product(self, index: int) -> str:
        """What Darknet calls a product with layer `index`, which may have one value a channel."""
        while index and self.spec.layers[index].block in ("Conv", "BiasConv"):
            index = self.spec.layers[index].inputs[0] % index
        return "scale_channels" if self.spec.layers[index].block == "GlobalPool" else "sam"

    def _convolution(self, module: Conv) -> None:
        conv = module.conv
        if type(module.act) not in CLASSES:
            raise WeightsError(f"Darknet has no {type(module.act).__name__}")
        padding, kernel = cast(int, conv.padding[0]), conv.kernel_size[0]
        pad = ("pad", 1) if padding == kernel // 2 else ("padding", padding)
        options: Options = [("filters", conv.out_channels), ("size", kernel), ("stride", conv.stride[0]), pad]
        activation = NAMES[CLASSES[type(module.act)]]
        norm: Options = [("batch_normalize", 1)] if isinstance(module.bn, nn.BatchNorm2d) else []
        groups: Options = [("groups", conv.groups)] if conv.groups > 1 else []
        self._write("convolutional", [*norm, *groups, *options, ("activation", activation)])

    def _head(self, level: int) -> None:
        network, head = cast(Detect, self.model.model[-1]), cast(AnchorHead, self.spec.head)  # `filters` has checked
        new_coords = head.decoding.kind == "yolov5"
        self._read(self.outputs[-1])
        options: Options = [("filters", cast(nn.Conv2d, network.m[level]).out_channels), ("size", 1), ("stride", 1)]
        activation = "logistic" if new_coords else "linear"
        self._write("convolutional", [*options, ("pad", 1), ("activation", activation)])
        count = len(head.anchors[level])
        mask = range(level * count, (level + 1) * count)
        anchors = [f"{side:.9g}" for sizes in head.anchors for anchor in sizes for side in anchor]
        scale = head.scales[level]
        self._write(
            "yolo",
            [
                ("mask", _joined(mask)),
                ("anchors", ", ".join(anchors)),
                ("classes", self.spec.nc),
                ("num", len(anchors) // 2),
                ("scale_x_y", f"{scale:.9g}"),
                *([("new_coords", 1)] if new_coords else []),
                ("ignore_thresh", 0.7),
                ("truth_thresh", 1),
                ("iou_normalizer", 0.07),
                ("iou_loss", "ciou"),
                ("nms_kind", "greedynms"),
                ("beta_nms", 0.6),
            ],
        )

    def _last(self) -> int:
        return len(self.sections) - 2

    def _read(self, section: int) -> None:
        """Make `section` the one that the next section reads."""
        if section != self._last():
            self._write("route", [("layers", section)])

    def _write(self, kind: str, options: Options) -> None:
        self.sections.append((kind, options))


def _joined(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
