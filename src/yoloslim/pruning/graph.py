"""Run a network on something other than numbers: what each operation does to channels.

A network is recorded once (`recorder.py`) and then interpreted on *abstract* tensors: of channel ids
(`coupling.py`), or of known constants (`folding.py`). Abstract tensors have the shape of the real ones, so an
operation that only moves data (`cat`, `chunk`, `view`, `permute`, slices, ...) is simply executed on them. What
remains are a few kinds of operation (`operations.py`), each a method here.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from yoloslim.errors import TraceError
from yoloslim.models.split_blocks import AttentionCore
from yoloslim.pruning.graph_writer import pick
from yoloslim.pruning.inputs import Inputs, tensors_in
from yoloslim.pruning.operations import describe, kind_of, leaf_modules, name_of
from yoloslim.pruning.recorder import record


@dataclass(frozen=True)
class Call:
    """One operation about to be interpreted.

    Attributes:
        node: where it stands in the graph.
        args: positional arguments, abstract tensors in place of tensors; a size that the network read off a tensor is
            a `sizes.Dim`, one that is written in its code a plain number.
        kwargs: keyword arguments, likewise.
        run: the operation itself.
        module: the module called, None for functions and methods.
    """

    node: fx.Node
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    run: Callable[..., Any]
    module: nn.Module | None = None

    @property
    def name(self) -> str:
        """See `name_of`."""
        return name_of(self.node)

    @property
    def shape(self) -> torch.Size:
        """Of what it gives, where that is one tensor."""
        return torch.Size([int(n) for n in self.node.meta["shape"]])

    def native(self) -> Any:
        """Execute the operation on the abstract tensors themselves."""
        return self.run(*self.args, **self.kwargs)

    def tensor(self) -> Tensor:
        """The tensor that a one-tensor operation works on."""
        return next(tensors_in((self.args, self.kwargs)))

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument given by position or by name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)


def trace(model: nn.Module, inputs: Inputs) -> fx.Graph:
    """Record the operations of a network on example inputs; see `recorder.record`.

    Raises:
        TraceError: as `record`, or the network has been compiled.
    """
    _refuse_compiled(model)
    return record(model, inputs, leaf_modules())


def _refuse_compiled(model: nn.Module) -> None:
    for path, module in model.named_modules():
        where = f"module '{path or '<root>'}' cannot be traced:"
        if isinstance(module, torch.jit.ScriptModule):
            raise TraceError(f"{where} torch.jit has compiled it; prune the module that it was made from")
        if _is_compiled(module):
            inside = f"{path}._orig_mod".lstrip(".")
            raise TraceError(f"{where} torch.compile has compiled it; prune its {inside}, and compile the result")


def _is_compiled(module: nn.Module) -> bool:
    """Whether `torch.compile` made it. That loads PyTorch's compiler; to look here must not, since it takes seconds."""
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    return compiler is not None and isinstance(module, compiler.OptimizedModule)


class AbstractInterpreter(fx.Interpreter):
    """Base of the interpreters; by default every operation runs as it is on the abstract tensors."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph)
        self.extra_traceback = False
        self.node: fx.Node
        self.varying: set[fx.Node] = set()

    def run_node(self, n: fx.Node) -> Any:
        """Interpret one node, naming it in whatever goes wrong."""
        self.node = n
        if n.op == "placeholder" or any(i in self.varying for i in n.all_input_nodes):
            self.varying.add(n)
        try:
            return super().run_node(n)
        except TraceError:
            raise
        except Exception as error:
            raise TraceError(f"{describe(n)}: {type(error).__name__}: {error}") from error

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Dispatch a module call by what the module does to channels."""
        module = self.fetch_attr(target)
        return self._dispatch(Call(self.node, args, kwargs, module, module))

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Dispatch a function call."""
        call = Call(self.node, args, kwargs, torch.reshape if target is torch.Tensor.view else target)
        return call.native() if target is pick else self._dispatch(call)

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Dispatch a method call such as `x.view(...)`."""
        run = getattr(Tensor, "reshape" if target == "view" else target)  # abstract tensors have other strides
        return self._dispatch(Call(self.node, args, kwargs, run))

    def _dispatch(self, call: Call) -> Any:
        return getattr(self, kind_of(call.node, call.module, call.node in self.varying))(call)

    def native(self, call: Call) -> Any:
        """What runs on abstract tensors as on any others."""
        return call.native()

    def attention(self, call: Call) -> tuple[Tensor, Tensor]:
        """What is attended to stands where the values stand."""
        values = cast(AttentionCore, call.module).values(call.tensor())
        return values, values

    move = squeeze = stack = view = expand = split = getitem = shuffle = pixels = reduce = along = parts = native


def uniform_vector(x: Tensor) -> tuple[Tensor, bool]:
    """What stands at each channel of an abstract tensor (N, C, ...), as (C,); and whether all positions agree."""
    vector = x[0].flatten(1)[:, 0] if x.dim() > 2 else x[0]
    spread = spread_channels(vector, x.shape)
    return vector, bool(((x == spread) | (x.isnan() & spread.isnan())).all())


def spread_channels(vector: Tensor, shape: torch.Size) -> Tensor:
    """An abstract tensor of that shape (N, C, ...) from one value a channel (C,)."""
    return vector.view(1, -1, *(1,) * (len(shape) - 2)).expand(shape)
