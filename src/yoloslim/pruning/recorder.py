"""Record what a network does: one run on example inputs, written down as a torch.fx graph.

Torch hands every function call to a `TorchFunctionMode`, so that any Python code can be recorded: its control flow
need not be understood, it is taken. A size that the code *reads off* a tensor is handed out as a `Dim`, and what is
computed from it is one, too. That tells `view(b, 4, c // 4, h, w)`, which fits whatever channels are left, from
`view(b, 4, 8, h, w)`, which does not.
"""

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from yoloslim.errors import TraceError
from yoloslim.pruning.graph_writer import GraphWriter
from yoloslim.pruning.inputs import Inputs, tensors_in
from yoloslim.pruning.sizes import Dim

READS = frozenset(
    [
        "__bool__",
        "__int__",
        "__float__",
        "__complex__",
        "__index__",
        "__array__",
        "__contains__",
        "item",
        "tolist",
        "numpy",
        "is_nonzero",
        "equal",
        "allclose",
        "nonzero",
        "argwhere",
        "masked_select",
        "unique",
        "unique_consecutive",
        "bincount",
    ]
)
"""Questions about values, and operations whose result is as large as the values make it."""
LAYERS: dict[str, tuple[type[nn.Module], ...]] = {
    "conv1d": (nn.Conv1d,),
    "conv2d": (nn.Conv2d,),
    "conv3d": (nn.Conv3d,),
    "conv_transpose1d": (nn.ConvTranspose1d,),
    "conv_transpose2d": (nn.ConvTranspose2d,),
    "conv_transpose3d": (nn.ConvTranspose3d,),
    "linear": (nn.Linear,),
    "batch_norm": (nn.modules.batchnorm._BatchNorm,),
    "layer_norm": (nn.LayerNorm,),
    "group_norm": (nn.GroupNorm,),
    "rms_norm": (nn.RMSNorm,),
}
"""Functions that do what a layer does, by name: a call with that layer's own weight is a call of the layer."""


def record(model: nn.Module, inputs: Inputs, leaves: tuple[type[nn.Module], ...]) -> fx.Graph:
    """Run a network once, in eval mode and without gradients, and write down what it does.

    Args:
        model: the network; left as it was.
        inputs: what it accepts, on the device of its weights.
        leaves: module classes that are one operation each; all others are looked into.

    Returns:
        A graph whose nodes have `meta["nn_module_stack"]`, and `meta["shape"]` where they give one tensor.

    Raises:
        TraceError: the network fails on the inputs, or what it does depends on values.
    """
    recorder = _Recorder(model)
    modes = {module: module.training for module in model.modules()}
    with ExitStack() as stack:
        for module, mode in modes.items():
            stack.callback(setattr, module, "training", mode)
            module.training = False
        for path, module in model.named_modules():
            if path:
                leaf = type(module) in leaves
                before = module.register_forward_pre_hook(recorder.entering(path, leaf), with_kwargs=True, prepend=True)
                after = module.register_forward_hook(recorder.leaving(path, leaf), with_kwargs=True)
                stack.callback(before.remove)
                stack.callback(after.remove)
        stack.enter_context(torch.no_grad())
        for x in inputs.tensors:
            recorder.writer.place(x)
        try:
            with recorder:
                result = inputs.call(model)
        except TraceError:
            raise
        except Exception as error:
            shapes = ", ".join(str(tuple(x.shape)) for x in inputs.tensors)
            raise TraceError(
                f"{type(model).__name__} cannot be traced: it fails on inputs of shape {shapes} in module "
                f"'{recorder.path or '<root>'}': {type(error).__name__}: {error}; give example inputs that it accepts"
            ) from error
    recorder.writer.finish(result)
    return recorder.writer.graph


class _Recorder(TorchFunctionMode):
    """Writes a node for every call that something computed from an input or a parameter goes through."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.writer = GraphWriter(model)
        self.stack = self.writer.stack
        self.leaf: str | None = None

    @property
    def path(self) -> str:
        """Of the module that runs; '' is the network itself."""
        return self.stack[-1][0] if self.stack else ""

    def entering(self, path: str, leaf: bool) -> Callable[..., None]:
        """A hook to run before a module."""

        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            if self.leaf is None:
                self.stack.append((path, type(module)))
                weights = next(module.parameters(recurse=False), None) is not None
                self.leaf = path if leaf and (weights or self.writer.known((args, kwargs))) else None

        return hook

    def leaving(self, path: str, leaf: bool) -> Callable[..., None]:
        """A hook to run after a module; a leaf becomes one node."""

        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if self.leaf == path:
                self.leaf = None
                self.writer.write("call_module", path, args, kwargs, output)
            if self.leaf is None:
                self.stack.pop()

        return hook

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.leaf is not None:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        if name == "__get__":
            return self._attribute(func, args)
        if name in ("size", "__len__"):
            return self._size(args[0], func(*args, **kwargs), *args[1:], **kwargs)
        if name in ("numel", "nelement"):
            return Dim(func(*args, **kwargs))
        if name in READS and self.writer.varies((args, kwargs)):
            raise TraceError(
                f"{type(self.model).__name__} cannot be traced: in module '{self.path or '<root>'}' its forward asks "
                f"for values ({name.strip('_')}), and what it does then depends on the data. Give it a switch that "
                f"takes one way whatever the data, prune a part that has none{self._advice()}"
            )
        if name == "__iter__":
            return iter(self.__torch_function__(Tensor.unbind, types, (args[0], 0)))
        output = func(*args, **kwargs)
        if self.writer.known((args, kwargs)):
            if next(tensors_in((output,)), None) is not None:
                self._write_function(func, name, args, kwargs, output)
            elif output is None and name == "__setitem__":  # x[...] = value
                self._write_function(func, name, args, kwargs, args[0])
        return output

    def _advice(self) -> str:
        if not self.stack:
            return ""
        name = self.stack[-1][1].__name__
        return f', or let the module be, with all it reads: yoloslim.register_op({name}, "mix")'

    def _size(self, x: Tensor, value: Any, dim: int | None = None) -> Any:
        """Sizes of a tensor that remember where they were read."""
        node = self.writer.node(x) if self.writer.known(x) else None

        def dim_of(size: int, axis: int) -> Dim:
            made = Dim(size)
            if node is not None:
                made.source = node, axis
                node.meta.setdefault("sized", set()).add(axis)
            return made

        if isinstance(value, torch.Size):
            return torch.Size([dim_of(size, axis) for axis, size in enumerate(value)])
        return dim_of(value, (dim or 0) % max(x.dim(), 1))

    def _attribute(self, func: Any, args: Any) -> Any:
        name, value = func.__self__.__name__, func(*args)
        if name == "shape":
            return self._size(args[0], value)
        if isinstance(value, Tensor) and self.writer.known(args) and name not in ("grad", "_base"):
            axes = {"T": (0, 1), "mT": (-2, -1)}.get(name)
            if axes and args[0].dim() > 1:
                self.writer.write("call_function", torch.transpose, (args[0], *axes), {}, value)
            else:
                self.writer.write("call_method", "detach" if name in ("data", "T") else name, args, {}, value)
        return value

    def _write_function(self, func: Any, name: str, args: Any, kwargs: Any, output: Any) -> None:
        layer = self._layer_of(name, args, kwargs)
        if layer is not None:
            self.writer.write("call_module", layer, args[:1] or (kwargs["input"],), {}, output)
        elif getattr(Tensor, name, None) is func or inspect.ismethoddescriptor(func):
            self.writer.write("call_method", name, args, kwargs, output)
        else:
            self.writer.write("call_function", func, args, kwargs, output)

    def _layer_of(self, name: str, args: Any, kwargs: Any) -> str | None:
        """Path of the layer that a function call is the work of: the one that owns the weight, and the bias."""
        if name not in LAYERS:
            return None
        owners = {
            self.writer.parameters[id(x)] for x in tensors_in((args[1:], kwargs)) if id(x) in self.writer.parameters
        }
        paths = {owner.rpartition(".")[0] for owner in owners}
        if len(paths) != 1 or not any(owner.rpartition(".")[2] == "weight" for owner in owners):
            return None
        path = paths.pop()
        return path if path and isinstance(self.model.get_submodule(path), LAYERS[name]) else None
