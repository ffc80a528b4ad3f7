"""A torch.fx graph that grows by a node for every call that a network makes while it runs."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from yoloslim.pruning.inputs import tensors_in


class GraphWriter:
    """The graph so far, and which tensor is what node's.

    Attributes:
        graph: the nodes.
        stack: path and class of the modules that run, the innermost last.
        parameters: id of a parameter of the network -> its name.
    """

    def __init__(self, model: nn.Module) -> None:
        self.graph = fx.Graph()
        self._varying: set[fx.Node | None] = set()
        self.stack: list[tuple[str, type[nn.Module]]] = []
        self.parameters = {id(v): name for name, v in model.named_parameters(remove_duplicate=False)}
        self._node_of: dict[int, fx.Node] = {}
        self._alive: list[Any] = []  # ids stay unique while objects live

    def place(self, x: Tensor) -> None:
        """An input of the network."""
        node = self.graph.placeholder("x")
        self._varying.add(node)
        self._remember(x, node)

    def finish(self, result: Any) -> None:
        """What the network gives."""
        self.graph.output(tuple(self._node_of[id(x)] for x in tensors_in(result) if id(x) in self._node_of))

    def varies(self, value: Any) -> bool:
        """Whether a tensor in it depends on the inputs."""
        return any(self._node_of.get(id(x)) in self._varying for x in tensors_in(value))

    def known(self, value: Any) -> bool:
        """Whether a tensor in it is a parameter, or was made of one or of an input."""
        return any(id(x) in self._node_of or id(x) in self.parameters for x in tensors_in(value))

    def write(self, op: str, target: Any, args: Any, kwargs: Any, output: Any) -> None:
        """A call, in the terms of `torch.fx.Graph.create_node`, and what it gave."""
        args, kwargs = self._arguments(args), self._arguments(kwargs)
        name = target.strip("_") if op == "call_method" else None
        node = self.graph.create_node(op, target, args, kwargs, name=name)
        node.meta["nn_module_stack"] = {path: (path, kind) for path, kind in self.stack}
        if any(n in self._varying for n in node.all_input_nodes):
            self._varying.add(node)
        if isinstance(output, Tensor):
            self._remember(output, node)
            return
        self._remember_parts(output, node)

    def _remember_parts(self, output: Any, node: fx.Node) -> None:
        """Results that come as a tuple or a dict, one inside the other perhaps."""
        for key, x in output.items() if isinstance(output, dict) else enumerate(output):
            if isinstance(x, Tensor | tuple | list | dict):
                part = self.graph.call_function(pick, (node, key))
                part.meta["nn_module_stack"] = node.meta["nn_module_stack"]
                if node in self._varying:
                    self._varying.add(part)
                if isinstance(x, Tensor):
                    self._remember(x, part)
                else:
                    self._remember_parts(x, part)

    def _remember(self, x: Tensor, node: fx.Node) -> None:
        node.meta["shape"] = tuple(x.shape)
        self._node_of[id(x)] = node
        self._alive.append(x)

    def _arguments(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.node(value)
        if isinstance(value, torch.Size) or type(value) in (tuple, list):
            items = [self._arguments(item) for item in value]
            return items if type(value) is list else tuple(items)
        if isinstance(value, dict):
            return {key: self._arguments(item) for key, item in value.items()}
        if isinstance(value, slice):
            return slice(*(self._arguments(item) for item in (value.start, value.stop, value.step)))
        return value

    def node(self, x: Tensor) -> fx.Node:
        """Of what was recorded; or of a parameter, by its name; or of any other tensor, which is a constant."""
        if id(x) in self._node_of:
            return self._node_of[id(x)]
        path = self.parameters.get(id(x))
        node = self.graph.create_node("get_attr", path or "constant")
        node.meta |= {"value": x.detach().clone() if path is None else x.detach(), "parameter": path}
        node.meta["shape"] = tuple(x.shape)
        if path is not None:
            self._remember(x, node)
        return node


def pick(values: Any, index: Any) -> Any:
    """One of several results."""
    return values[index]
