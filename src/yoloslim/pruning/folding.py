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

from yoloslim.pruning.coupling import BoolArray, Coupling
from yoloslim.pruning.filters import outputs_first
from yoloslim.pruning.graph import AbstractInterpreter, Call, spread_channels, uniform_vector
from yoloslim.pruning.inputs import tensors_in
from yoloslim.pruning.operations import BATCHNORMS, TRANSPOSED
from yoloslim.pruning.propagation import everywhere

NAN = float("nan")


def fold_constants(model: nn.Module, coupling: Coupling, keep: BoolArray) -> list[str]:
    """Fold constants of doomed channels into their readers, in place; the network keeps its size.

    Args:
        model: the network that was traced.
        coupling: of its channels.
        keep: (groups,) true for channel groups that stay.

    Returns:
        Where folding is not exact: paths of layers called several times with different constants (they have one
        bias for all calls, which gets the mean) or reading removed channels that are not constant after all
        (multiplied by something that varies), and operations that pad constants with zeros.
    """
    interpreter = _ConstantInterpreter(model, coupling, keep)
    with torch.no_grad():
        interpreter.run(*(_unknown(x.shape) for x in coupling.example.tensors))
        for path, calls in interpreter.contributions.items():
            constants = torch.stack(calls)
            absorb(model, coupling, path, constants.mean(0))
            if not torch.allclose(constants, constants[:1], rtol=1e-9, atol=1e-12):
                interpreter.inexact.append(path)
    return interpreter.inexact


def absorb(model: nn.Module, coupling: Coupling, path: str, constant: Tensor) -> None:
    """Add `constant` (C_out,) to what a layer gives, by the BatchNorm behind it or by its bias."""
    if not constant.any():
        return
    module = cast(nn.Conv2d | nn.Linear, model.get_submodule(path))
    norm = model.get_submodule(coupling.folds_into[path]) if path in coupling.folds_into else None
    if isinstance(norm, BATCHNORMS) and norm.running_mean is not None:
        norm.running_mean.sub_(constant.to(norm.running_mean))
    elif module.bias is not None:
        module.bias.add_(constant.to(module.bias))
    else:
        module.bias = nn.Parameter(constant.to(module.weight))


class _ConstantInterpreter(AbstractInterpreter):
    """Runs the network on float64 tensors: a number where a channel is constant, NaN where it varies."""

    def __init__(self, model: nn.Module, coupling: Coupling, keep: BoolArray) -> None:
        super().__init__(model, coupling.graph)
        self.coupling, self.keep = coupling, keep
        self.contributions: dict[str, list[Tensor]] = {}
        self.inexact: list[str] = []

    def convolution(self, call: Call) -> Tensor:
        module, vector = cast(nn.Conv2d, call.module), _constants(call.tensor())
        weight = outputs_first(module).cpu().double().flatten(2).sum(2)  # (C_out, C_in / groups)
        if isinstance(module, TRANSPOSED):  # by position it gives other taps of its kernel: fold their mean
            weight = weight / torch.Size(module.stride).numel()
            if torch.nan_to_num(vector).any():
                self.inexact.append(str(call.node.target))
        gives = self._contribution(call, weight, vector, module.groups)
        return spread_channels(self._record(call, gives, module.bias), call.shape)

    def linear(self, call: Call) -> Tensor:
        module = cast(nn.Linear, call.module)
        gives = self._contribution(call, module.weight.cpu().double(), _constants(call.tensor(), -1), 1)
        return self._record(call, gives, module.bias).expand(call.shape)

    def embedding(self, call: Call) -> Tensor:
        doomed = self._doomed(str(call.node.target))
        return torch.zeros(len(doomed), dtype=torch.float64).masked_fill(~doomed, NAN).expand(call.shape)

    def _contribution(self, call: Call, weight: Tensor, constants: Tensor, groups: int) -> Tensor:
        path = str(call.node.target)
        doomed = torch.from_numpy(~self.keep[self.coupling.layers[path].inputs])
        if constants[doomed].isnan().any():
            self.inexact.append(path)
        known = torch.nan_to_num(constants.masked_fill(~doomed, NAN)).view(groups, -1)
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
        return torch.from_numpy(~self.keep[self.coupling.layers[path].outputs])

    def batchnorm(self, call: Call) -> Tensor:
        return spread_channels(self._shifts(call), call.shape)

    groupnorm = batchnorm

    def layernorm(self, call: Call) -> Tensor:
        if str(call.node.target) not in self.coupling.layers:
            return _unknown(call.shape)
        return self._shifts(call).expand(call.shape)

    def _shifts(self, call: Call) -> Tensor:
        """What a normalisation gives for doomed channels."""
        doomed = self._doomed(str(call.node.target))
        bias = getattr(call.module, "bias", None)
        shifts = torch.zeros(len(doomed)) if bias is None else bias.cpu()
        return shifts.double().masked_fill(~doomed, NAN)

    def prelu(self, call: Call) -> Tensor:
        x, slopes = call.tensor(), cast(nn.PReLU, call.module).weight.cpu().double()
        return torch.where(x < 0, x * spread_channels(slopes.expand(x.shape[1]), x.shape), x)

    def unary(self, call: Call) -> Tensor:
        x = call.tensor()
        args = tuple(x.clone() if a is x else a for a in call.args)  # some activations work in place
        result = cast(Tensor, call.run(*args, **call.kwargs)).double()
        return result.where(~x.isnan(), NAN)  # what varies does so as a whole number, too

    def binary(self, call: Call) -> Tensor:
        if call.name in COMPARING:  # NaN is neither above nor below
            return _unknown(call.shape)
        args = tuple(a.clone() if isinstance(a, Tensor) else a for a in call.args)
        return cast(Tensor, call.run(*args, **call.kwargs))

    def spatial(self, call: Call) -> Tensor:
        vector = _constants(call.tensor())
        if _pads_with_zeros(call) and torch.nan_to_num(vector).any():
            self.inexact.append(call.node.name)
        return spread_channels(vector, call.shape) if len(vector) == call.shape[1] else _unknown(call.shape)

    pad = spatial

    def reduce(self, call: Call) -> Any:
        return _unknown(call.shape) if call.name in ("any", "all") else call.native()

    def getitem(self, call: Call) -> Any:
        indexed = any(True for _ in tensors_in(call.args[1:]))
        return _unknown(call.shape) if indexed else call.native()

    def mix(self, call: Call) -> Any:
        return everywhere(torch.tensor(NAN, dtype=torch.float64), call.node)

    setitem = constant = matmul = mix

    def dot_product(self, call: Call) -> Tensor:
        """Weights add up to one, so that a constant value is what comes out."""
        values = cast(Tensor, call.argument(2, "value"))
        if values.shape[:-2] != call.shape[:-2]:  # heads that share keys and values, or a batch that does
            return _unknown(call.shape)
        constant = (values == values[..., :1, :]).all(-2, keepdim=True)
        return values[..., :1, :].where(constant, NAN).expand(call.shape)

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        path = self.node.meta["parameter"]
        value = self.node.meta["value"] if path is None else self.module.get_parameter(path)
        value = value.detach().cpu()
        return value.double() if value.is_floating_point() else value


COMPARING = frozenset(["eq", "ge", "gt", "le", "lt", "masked_fill", "ne", "where"])
"""Operations that give a number even for what varies."""


def _unknown(shape: torch.Size) -> Tensor:
    return torch.full(shape, NAN, dtype=torch.float64)


def _constants(x: Tensor, axis: int = 1) -> Tensor:
    """(C,): the constant that each channel holds at all positions, NaN where it varies."""
    x = x.movedim(axis, 1) if x.dim() > 1 else x[None]
    vector, same = uniform_vector(x)
    if same:
        return vector
    rows = x.movedim(1, 0).flatten(1)
    return vector.where((rows == rows[:, :1]).all(1), NAN)


def _pads_with_zeros(call: Call) -> bool:
    if call.module is not None:
        averages = isinstance(call.module, nn.AvgPool1d | nn.AvgPool2d | nn.AvgPool3d)
        padded = averages and call.module.padding not in (0, (0,), (0, 0), (0, 0, 0))
        return padded or isinstance(call.module, nn.ZeroPad1d | nn.ZeroPad2d | nn.ZeroPad3d)
    padding = call.argument(3, "padding", 0)
    averages = call.name.startswith("avg_pool") and padding not in (0, (0, 0))
    return call.name == "pad" or averages
