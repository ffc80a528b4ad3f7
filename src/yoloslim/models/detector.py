"""The Detector: a network built from a ModelSpec, giving raw logits."""

import copy
import math
from contextlib import ExitStack
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from yoloslim.errors import ModelError
from yoloslim.heads import Head
from yoloslim.heads.anchor_free_network import AnchorFreeNetwork
from yoloslim.models.blocks import Focus
from yoloslim.models.build import build_layers
from yoloslim.models.lite_blocks import RepConv
from yoloslim.models.spec import ModelSpec
from yoloslim.models.split_blocks import Part
from yoloslim.models.zoo import build_spec

BN_MOMENTUM = 0.03


class Detector(nn.Module):
    """A YOLO detector. `forward` maps RGB images in [0, 1] to the raw outputs of its head."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.model = nn.ModuleList(build_layers(spec))
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = spec.bn_eps, BN_MOMENTUM
        for path in spec.removed:
            remove_unit(self, path)
        resize_to(self, spec.widths)
        for path in spec.biased:
            add_bias(self, path)
        spec.head.initialise(self.model[-1], spec.nc)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (B, 3, H, W) to what the head gives by level; see `Head.build` and `Head.outputs`.

        H and W are multiples of the largest stride.
        """
        layers = self.spec.layers
        inputs = [[number + i if i < 0 else i for i in layer.inputs] for number, layer in enumerate(layers)]
        last_read = {i: number for number, read in enumerate(inputs) for i in read}
        outputs = {-1: x}
        for number, (layer, module) in enumerate(zip(layers, self.model, strict=True)):
            sources = [outputs[i] for i in inputs[number]]
            outputs[number] = module(sources if len(sources) > 1 or layer.block == "Detect" else sources[0])
            for i in inputs[number]:
                if last_read[i] == number:  # what nothing reads any more is not held
                    outputs.pop(i, None)
        return outputs[len(layers) - 1]  # type: ignore[return-value]  # the last layer is the head


def build_detector(
    name: str,
    classes: tuple[str, ...],
    imgsz: int = 640,
    head: Head | None = None,
) -> Detector:
    """Build a freshly initialised model such as `yolov5n` for the given classes.

    Raises:
        ModelError: no such model.
    """
    return Detector(build_spec(name, classes, imgsz, head))


def remove_unit(model: nn.Module, path: str) -> None:
    """Put the identity in the place of a residual unit.

    Raises:
        ModelError: the model has no module at that path.
    """
    parent_path, _, name = path.rpartition(".")
    try:
        parent = model.get_submodule(parent_path)
        model.get_submodule(path)
    except AttributeError as error:
        raise ModelError(f"cannot remove unit '{path}': the model has no such module") from error
    setattr(parent, name, nn.Identity())


def add_bias(model: nn.Module, path: str) -> None:
    """Give a convolution a bias of zeros, if it has none.

    Raises:
        ModelError: the model has no convolution at that path.
    """
    try:
        module = model.get_submodule(path)
    except AttributeError as error:
        raise ModelError(f"cannot give '{path}' a bias: the model has no such module") from error
    if not isinstance(module, nn.Conv2d):
        raise ModelError(f"cannot give '{path}' a bias: it is a {type(module).__name__}, not a convolution")
    if module.bias is None:
        module.bias = nn.Parameter(torch.zeros_like(module.weight[:, 0, 0, 0]))


def resize_to(model: nn.Module, widths: dict[str, tuple[int, int]]) -> None:
    """Give convolutions and BatchNorms other channel counts, in place; their weights start afresh.

    Args:
        model: any network.
        widths: module path -> (in, out); equal for a BatchNorm. Depthwise stays depthwise.

    Raises:
        ModelError: a path that does not exist or is neither of the two.
    """
    for path, (c_in, c_out) in widths.items():
        try:
            old = model.get_submodule(path)
        except AttributeError as error:
            raise ModelError(f"the widths table names '{path}', which the model has not") from error
        parent_path, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent_path), name, _resized(old, path, c_in, c_out))


def _resized(old: nn.Module, path: str, c_in: int, c_out: int) -> nn.Module:
    if isinstance(old, nn.BatchNorm2d):
        return nn.BatchNorm2d(c_out, eps=old.eps, momentum=old.momentum)
    if isinstance(old, Part):
        return Part(c_out)
    if not isinstance(old, nn.Conv2d):
        raise ModelError(f"the widths table names '{path}', a {type(old).__name__}, not Conv2d, BatchNorm2d or Part")
    depthwise = old.groups > 1 and old.groups == old.in_channels
    return nn.Conv2d(
        c_in,
        c_out,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        groups=c_in if depthwise else old.groups,
        bias=old.bias is not None,
    )


def fuse(model: Detector) -> Detector:
    """Copy of the model in eval mode with every BatchNorm folded into the convolution before it.

    What else can be one convolution becomes one: parallel branches (`RepConv`) and sliced input (`Focus`). Of two
    branches of a head the one that answers is left.
    """
    fused = copy.deepcopy(model).eval()
    for conv, norm in normed_convs(fused).items():
        _fold(cast(nn.Conv2d, fused.get_submodule(conv)), cast(nn.BatchNorm2d, fused.get_submodule(norm)))
        parent, _, name = norm.rpartition(".")
        setattr(fused.get_submodule(parent), name, nn.Identity())
    for module in fused.modules():
        if isinstance(module, Focus | RepConv | AnchorFreeNetwork):
            module.merge()
    return fused


def normed_convs(model: nn.Module) -> dict[str, str]:
    """Path of each convolution that a BatchNorm follows -> path of that BatchNorm."""
    found: dict[str, str] = {}
    for path, parent in model.named_modules():
        before: tuple[str, nn.Module] | None = None
        for name, child in parent.named_children():  # in all blocks a BatchNorm stands behind its convolution
            if before is not None and isinstance(before[1], nn.Conv2d) and isinstance(child, nn.BatchNorm2d):
                prefix = f"{path}." if path else ""
                found[prefix + before[0]] = prefix + name
            before = name, child
    return found


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Give a convolution the weights that make the BatchNorm behind it superfluous."""
    mean, var = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, mean, var, norm.eps, norm.weight, norm.bias)


def count_params(model: nn.Module) -> int:
    """Number of trainable values, biases and BatchNorm scales included."""
    return sum(p.numel() for p in model.parameters())


def count_macs(model: nn.Module, imgsz: int) -> int:
    """Multiply-adds of all convolutions for one square image; GFLOPs are 2 * MACs / 1e9."""
    total = 0

    def add(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        weight = cast(nn.Conv2d, module).weight
        total += weight[0].numel() * math.prod(output.shape[1:])

    weight = next(model.parameters())
    batch = int(weight.is_meta)  # no image at all: shapes cost nothing; without memory one image costs nothing either
    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(setattr, module, "training", module.training)
            module.training = False
            if isinstance(module, nn.Conv2d):
                stack.callback(module.register_forward_hook(add).remove)
        with torch.no_grad():
            model(weight.new_zeros(batch, 3, imgsz, imgsz))
    return total
