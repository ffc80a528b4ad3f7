"""Run a network on something other than numbers: what each operation does to channels.

A network is traced once with torch.fx and then interpreted on *abstract* tensors: of channel labels
(`labels.py`), or of known constants (`folding.py`). Abstract tensors have the shape of the real ones, so an
operation that only moves data (`cat`, `chunk`, `view`, `permute`, slices, ...) is simply executed on them, and
the network's own shape arithmetic runs as it is. What remains are a few kinds of operation, each a method here.
"""

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from yoloslim.errors import TraceError
from yoloslim.models.split_blocks import AttentionCore, Split

UNARY_MODULES = (
    nn.CELU,
    nn.Dropout,
    nn.Dropout2d,
    nn.ELU,
    nn.GELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.Mish,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Tanh,
)
SPATIAL_MODULES = (
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.ReflectionPad2d,
    nn.ReplicationPad2d,
    nn.Upsample,
    nn.ZeroPad2d,
)
MODULE_KINDS: tuple[tuple[str, tuple[type[nn.Module], ...]], ...] = (
    ("convolution", (nn.Conv2d, nn.ConvTranspose2d)),
    ("fixed", (nn.GroupNorm,)),
    ("batchnorm", (nn.BatchNorm2d,)),
    ("linear", (nn.Linear,)),
    ("prelu", (nn.PReLU,)),
    ("unary", UNARY_MODULES),
    ("spatial", SPATIAL_MODULES),
    ("move", (nn.Flatten,)),
    ("shuffle", (nn.ChannelShuffle,)),
    ("parts", (Split,)),
    ("attention", (AttentionCore,)),
)
NAME_KINDS: dict[str, str] = {
    name: kind
    for kind, names in {
        "unary": "abs celu clamp clamp_ clone contiguous detach double dropout elu exp float gelu half hardsigmoid "
        "hardswish hardtanh leaky_relu leaky_relu_ mish neg pow relu relu6 relu_ selu sigmoid sigmoid_ silu "
        "softplus sqrt square tanh to type type_as",
        "binary": "add add_ div div_ iadd imul isub itruediv maximum minimum mul mul_ sub sub_ truediv",
        "spatial": "adaptive_avg_pool2d adaptive_max_pool2d avg_pool2d interpolate max_pool2d pad",
        "reduce": "amax amin mean sum",
        "mix": "softmax log_softmax argmax cumsum roll norm sort topk",
        "move": "cat concat flatten flip movedim permute swapaxes t transpose unsqueeze",
        "squeeze": "squeeze",
        "stack": "stack",
        "view": "reshape view",
        "split": "chunk split unbind",
        "getitem": "getitem",
        "shuffle": "channel_shuffle",
        "native": "dim getattr numel size",
    }.items()
    for name in names.split()
}


@dataclass(frozen=True)
class Call:
    """One operation about to be interpreted.

    Attributes:
        node: where it stands in the graph; `node.args` tells literals (hard-coded) from computed values.
        args: positional arguments, abstract tensors in place of tensors.
        kwargs: keyword arguments, likewise.
        run: the operation itself.
        module: the module called, None for functions and methods.
    """

    node: fx.Node
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    run: Callable[..., Any]
    module: nn.Module | None = None

    def native(self) -> Any:
        """Execute the operation on the abstract tensors themselves."""
        return self.run(*self.args, **self.kwargs)

    def tensor(self) -> Tensor:
        """The tensor that a one-tensor operation works on."""
        return next(tensors_in((self.args, self.kwargs)))

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument given by position or by name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def literal(self, position: int, name: str) -> Any:
        """The same argument as written in the network: a number when hard-coded, an fx.Node when computed."""
        args, kwargs = self.node.args, self.node.kwargs
        return args[position] if len(args) > position else kwargs.get(name)


class _Tracer(fx.Tracer):
    """Takes modules whose effect on channels is known as a whole for one operation."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Split | AttentionCore) or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module) -> fx.Graph:
    """Record the operations of `model.forward` once.

    Raises:
        TraceError: its control flow depends on values, so that one recording cannot stand for it.
    """
    try:
        return _Tracer().trace(model)
    except Exception as error:
        raise TraceError(f"{type(model).__name__} cannot be traced: {error}") from error


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors inside nested tuples, lists and dicts, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)


def describe(node: fx.Node) -> str:
    """Name a node for people: what it does, and the module whose code does it."""
    what = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return f"node '{node.name}' ({node.op} {what}) in module '{scope_of(node) or '<root>'}'"


def name_of(node: fx.Node) -> str:
    """Name of a function or method without the underscores of its in-place form; of a module, its path."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return name.strip("_")


def scope_of(node: fx.Node) -> str:
    """Path of the innermost module whose forward made this node; '' is the network itself."""
    stack = node.meta.get("nn_module_stack") or {}
    return next(reversed(stack.values()))[0] if stack else ""


def kind_of(node: fx.Node, module: nn.Module | None) -> str:
    """Which method of `AbstractInterpreter` understands a node.

    Raises:
        TraceError: none does.
    """
    if module is not None:
        for kind, types in MODULE_KINDS:
            if isinstance(module, types):
                return kind
        name = type(module).__name__
    else:
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        if name in NAME_KINDS:
            return NAME_KINDS[name]
    raise TraceError(
        f"{describe(node)}: what '{name}' does to channels is not understood; build the network from known "
        "operations, or teach yoloslim.pruning.graph this one"
    )


class AbstractInterpreter(fx.Interpreter):
    """Base of the interpreters; by default every operation runs as it is on the abstract tensors."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph)
        self.extra_traceback = False
        self.node: fx.Node

    def run_node(self, n: fx.Node) -> Any:
        """Interpret one node, naming it in whatever goes wrong."""
        self.node = n
        try:
            return super().run_node(n)
        except TraceError:
            raise
        except Exception as error:
            raise TraceError(f"{describe(n)}: {type(error).__name__}: {error}") from error

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Dispatch a module call by what the module does to channels."""
        module = self.fetch_attr(target)
        call = Call(self.node, args, kwargs, module, module)
        return getattr(self, kind_of(self.node, module))(call)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Dispatch a function call; arithmetic on shapes has no tensors and just runs."""
        call = Call(self.node, args, kwargs, target)
        if next(tensors_in((args, kwargs)), None) is None or (target is operator.getitem and _is_tuple(args[0])):
            return call.native()
        return getattr(self, kind_of(self.node, None))(call)

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Dispatch a method call such as `x.view(...)`."""
        if not isinstance(args[0], Tensor):
            return super().call_method(target, args, kwargs)
        run = getattr(Tensor, "reshape" if target == "view" else target)  # abstract tensors have other strides
        return getattr(self, kind_of(self.node, None))(Call(self.node, args, kwargs, run))

    def native(self, call: Call) -> Any:
        """Questions about shapes."""
        return call.native()

    def attention(self, call: Call) -> tuple[Tensor, Tensor]:
        """What is attended to stands where the values stand."""
        values = cast(AttentionCore, call.module).values(call.tensor())
        return values, values

    move = squeeze = stack = view = split = getitem = shuffle = reduce = mix = parts = native


def _is_tuple(value: Any) -> bool:
    return isinstance(value, tuple | list)


def channel_vector(x: Tensor, node: fx.Node) -> Tensor:
    """What stands at each channel of an abstract tensor (N, C, ...) whose channels are uniform, as (C,).

    Raises:
        TraceError: the network mixes channels and positions here, so one channel is several things.
    """
    vector = x[0].flatten(1)[:, 0] if x.dim() > 2 else x[0]
    spread = spread_channels(vector, x.shape)
    if not bool(((x == spread) | (x.isnan() & spread.isnan())).all()):
        raise TraceError(f"{describe(node)}: one input channel holds different channels at different positions")
    return vector


def spread_channels(vector: Tensor, shape: torch.Size) -> Tensor:
    """An abstract tensor of that shape (N, C, ...) from one value a channel (C,)."""
    return vector.view(1, -1, *(1,) * (len(shape) - 2)).expand(shape)


def like_output(vector: Tensor, call: Call, x: Tensor) -> Tensor:
    """Give a channel vector (C,) the shape that the call's output has, by running it on shapes alone."""
    replace = _meta_like(x)
    args = tuple(replace if a is x else a for a in call.args)
    kwargs = {k: replace if a is x else a for k, a in call.kwargs.items()}
    run = call.run
    if call.module is not None and any(True for _ in call.module.parameters()):
        run = _on_meta(call.module)
    return spread_channels(vector, run(*args, **kwargs).shape)


def _meta_like(x: Tensor) -> Tensor:
    return torch.empty(x.shape, device="meta")


def _on_meta(module: nn.Module) -> Callable[..., Any]:
    state = {name: torch.empty(p.shape, device="meta") for name, p in module.named_parameters()}
    return lambda *args: torch.func.functional_call(module, state, args)
