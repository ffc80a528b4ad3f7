"""What is done to a network before it trains: memory layout, frozen layers, BatchNorm over several devices."""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from yoloslim.config import TrainParams
from yoloslim.conv import ACTIVATIONS
from yoloslim.errors import TrainError
from yoloslim.heads.anchor_free_network import FixedBins
from yoloslim.models.detector import Detector

_ACTIVATIONS = {type(make()) for name, make in ACTIVATIONS.items() if name != "linear"}


def prepare(model: Detector, params: TrainParams) -> Detector:
    """Make a network ready to train, in place.

    Raises:
        TrainError: `train.freeze` leaves nothing to train.
    """
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.requires_grad_(True)  # what came out of another training wants none
    for module in model.modules():
        if isinstance(module, FixedBins):
            module.requires_grad_(False)
        if isinstance(module, (nn.SiLU, nn.Mish, nn.Hardswish)):
            module.inplace = False  # in place it would first copy its input, which its gradient needs
        if type(module) in _ACTIVATIONS:
            module.register_forward_hook(_ask_for_dense_gradient)
    if params.sync_bn:
        _replace_norms(model)
    if params.freeze >= len(model.model):
        raise TrainError(
            f"train.freeze is {params.freeze}, but {model.spec.name} has {len(model.model)} layers: "
            f"nothing would train; set it to {len(model.model) - 1} or less"
        )
    for layer in model.model[: params.freeze]:
        layer.requires_grad_(False)
    return model


def set_training(model: Detector, frozen: int) -> None:
    """Train mode, but for the first `frozen` layers: their BatchNorm statistics stay as they are too."""
    model.train()
    for layer in model.model[:frozen]:
        layer.eval()


def _ask_for_dense_gradient(_: nn.Module, __: Any, output: Tensor) -> None:
    """Gradients through a concatenation are slices of a larger tensor, on which CPU kernels are up to 20 times slower.

    One copy before they reach activation and BatchNorm pays at once.
    """
    if output.requires_grad:
        output.register_hook(_dense)  # type: ignore[no-untyped-call]


def _dense(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


class SyncNorm(nn.BatchNorm2d):
    """BatchNorm whose statistics in training are those of the whole batch that several processes share.

    Works on any device; PyTorch's own SyncBatchNorm does on GPUs alone.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        values = x.float()
        count = float(_sum(values.new_tensor([values.numel() / values.shape[1]])))
        mean = _sum(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = _sum(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, cast(float, self.momentum))
            self.running_var.lerp_(variance * (count / max(count - 1, 1)), cast(float, self.momentum))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous().clone()
        dist.all_reduce(gradient)
        return gradient


def _sum(value: Tensor) -> Tensor:
    """Sum over processes, with gradients."""
    return _AllReduce.apply(value)  # type: ignore[no-any-return, no-untyped-call]


def _replace_norms(model: nn.Module) -> None:
    for module in model.modules():
        for name, child in list(module.named_children()):
            if type(child) is nn.BatchNorm2d:
                norm = SyncNorm(child.num_features, child.eps, child.momentum)
                norm.load_state_dict(child.state_dict())
                setattr(module, name, norm)
