"""Fold what removed channels give into what reads them.

A channel whose BatchNorm scale is near zero does not give 0 but the constant act(beta). The network is run on
abstract tensors of constants: a doomed channel holds the constant it gives, a channel that stays holds NaN
("varies"). Activations, concatenation, pooling, upsampling, sums and shuffles then need no rules of their own.
At each convolution the constants of its inputs, times its weights, move into the BatchNorm behind it (running
mean) or into its bias: exact away from zero-padded borders.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from yoloslim.pruning.graph import AbstractInterpreter, Call, channel_vector, like_output, name_of, spread_channels
from yoloslim.pruning.labels import BoolArray, ChannelLabels

NAN = float("nan")


def fold_constants(model: nn.Module, labels: ChannelLabels, keep: BoolArray) -> list[str]:
    """Fold constants of doomed channels into their readers, in place; the network keeps its size.

    Args:
        model: the labelled network.
        labels: its channel labels.
        keep: (groups,) true for channel groups that stay.

    Returns:
        Where folding is not exact: paths of layers called several times with different constants (they have one
        bias for all calls, which gets the mean) or reading removed channels that are not constant after all
        (multiplied by something that varies), and operations that pad constants with zeros.
    """
    interpreter = _ConstantInterpreter(model, labels, keep)
    with torch.no_grad():
        interpreter.run(torch.full(labels.example, NAN, dtype=torch.float64))
        for path, calls in interpreter.contributions.items():
            constants = torch.stack(calls)
            _absorb(model, labels, path, constants.mean(0))
            if not torch.allclose(constants, constants[:1], rtol=1e-9, atol=1e-12):
                interpreter.inexact.append(path)
    return interpreter.inexact


def _absorb(model: nn.Module, labels: ChannelLabels, path: str, constant: Tensor) -> None:
    """Add `constant` (C_out,) to what a layer gives, by the BatchNorm behind it or by its bias."""
    if not constant.any():
        return
    module = cast(nn.Conv2d | nn.Linear, model.get_submodule(path))
    norm = model.get_submodule(labels.folds_into[path]) if path in labels.folds_into else None
    if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None:
        norm.running_mean.sub_(constant.to(norm.running_mean))
    elif module.bias is not None:
        module.bias.add_(constant.to(module.bias))
    else:
        module.bias = nn.Parameter(constant.to(module.weight))


class _ConstantInterpreter(AbstractInterpreter):
    """Runs the network on float64 tensors: a number where a channel is constant, NaN where it varies."""

    def __init__(self, model: nn.Module, labels: ChannelLabels, keep: BoolArray) -> None:
        super().__init__(model, labels.graph)
        self.labels, self.keep = labels, keep
        self.contributions: dict[str, list[Tensor]] = {}
        self.inexact: list[str] = []

    def convolution(self, call: Call) -> Tensor:
        module, x = cast(nn.Conv2d, call.module), call.tensor()
        weight = module.weight.cpu().double().sum((2, 3))  # (C_out, C_in / groups)
        if isinstance(module, nn.ConvTranspose2d):  # by position it gives other taps of its kernel: fold their mean
            if module.groups > 1:
                return self.fixed(call)
            weight = weight.T / (module.stride[0] * module.stride[1])
            if torch.nan_to_num(channel_vector(x, call.node)).any():
                self.inexact.append(str(call.node.target))
        gives = self._contribution(call, weight, channel_vector(x, call.node), module.groups)
        return like_output(self._record(call, gives, module.bias), call, x)

    def fixed(self, call: Call) -> Tensor:
        x, module = call.tensor(), call.module
        width = module.out_channels if isinstance(module, nn.ConvTranspose2d) else x.shape[1]
        return like_output(torch.full((width,), NAN, dtype=torch.float64), call, x)

    def linear(self, call: Call) -> Tensor:
        module, x = cast(nn.Linear, call.module), call.tensor()
        gives = self._contribution(call, module.weight.cpu().double(), channel_vector(x.movedim(-1, 1), call.node), 1)
        return self._record(call, gives, module.bias).expand(*x.shape[:-1], -1)

    def _contribution(self, call: Call, weight: Tensor, constants: Tensor, groups: int) -> Tensor:
        path = str(call.node.target)
        doomed = torch.from_numpy(~self.keep[self.labels.layers[path].inputs])
        if constants[doomed].isnan().any():
            self.inexact.append(path)
        known = torch.nan_to_num(constants).view(groups, -1)
        rows = weight.view(groups, -1, weight.shape[1])
        return torch.einsum("goi,gi->go", rows, known).flatten()

    def _record(self, call: Call, gives: Tensor, bias: Tensor | None) -> Tensor:
        """Note what a layer's constant inputs give its living outputs; a doomed output gives its own bias."""
        path = str(call.node.target)
        doomed = self._doomed(path)
        self.contributions.setdefault(path, []).append(gives.masked_fill(doomed, 0))
        own = torch.zeros_like(gives) if bias is None else bias.cpu().double()
        return own.masked_fill(~doomed, NAN)

    def _doomed(self, path: str) -> Tensor:
        return torch.from_numpy(~self.keep[self.labels.layers[path].outputs])

    def batchnorm(self, call: Call) -> Tensor:
        module, x = cast(nn.BatchNorm2d, call.module), call.tensor()
        beta = torch.zeros(x.shape[1]) if module.bias is None else module.bias.cpu()
        return spread_channels(beta.double().masked_fill(~self._doomed(str(call.node.target)), NAN), x.shape)

    def prelu(self, call: Call) -> Tensor:
        x, slopes = call.tensor(), cast(nn.PReLU, call.module).weight.cpu().double()
        return torch.where(x < 0, x * spread_channels(slopes.expand(x.shape[1]), x.shape), x)

    def unary(self, call: Call) -> Tensor:
        x = call.tensor()
        args = tuple(x.clone() if a is x else a for a in call.args)  # some activations work in place
        return cast(Tensor, call.run(*args, **call.kwargs)).double()

    def binary(self, call: Call) -> Tensor:
        args = tuple(a.clone() if isinstance(a, Tensor) else a for a in call.args)
        return cast(Tensor, call.run(*args, **call.kwargs))

    def spatial(self, call: Call) -> Tensor:
        x = call.tensor()
        vector = channel_vector(x, call.node)
        if _pads_with_zeros(call) and torch.nan_to_num(vector).any():
            self.inexact.append(call.node.name)
        return like_output(vector, call, x)

    def reduce(self, call: Call) -> Any:
        return call.native()

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().get_attr(target, args, kwargs)
        return torch.full(value.shape, NAN, dtype=torch.float64) if isinstance(value, Tensor) else value


def _pads_with_zeros(call: Call) -> bool:
    if call.module is not None:
        averages = isinstance(call.module, nn.AvgPool2d) and call.module.padding not in (0, (0, 0))
        return averages or isinstance(call.module, nn.ZeroPad2d)
    padding = call.argument(3, "padding", 0)
    return name_of(call.node) == "pad" or (name_of(call.node) == "avg_pool2d" and padding not in (0, (0, 0)))
