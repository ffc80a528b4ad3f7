"""Residual units, found in the graph: a sum of something and a branch computed from that same something."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx

from yoloslim.pruning.operations import scope_of


@dataclass(frozen=True)
class ResidualUnit:
    """`skip + branch(skip)`.

    Attributes:
        name: node name of the sum, unique in the network.
        batchnorms: paths of the BatchNorms inside the branch, in order of execution.
        gate: path of the BatchNorm in front of the sum; None if the branch does not end in one.
        container: path of the module that is exactly this unit, so that the identity can replace it; None if
            no module is.
    """

    name: str
    batchnorms: tuple[str, ...]
    gate: str | None
    container: str | None


def find_residual_units(
    graph: fx.Graph, sums: Iterable[fx.Node], layers: Mapping[str, Any]
) -> tuple[ResidualUnit, ...]:
    """The sums of two tensors of which one is computed from the other, with the branch between them.

    Args:
        graph: the traced network.
        sums: its nodes that add tensors elementwise.
        layers: layers with weights by module path (`kind` tells BatchNorms).
    """
    order = {node: i for i, node in enumerate(graph.nodes)}
    units = []
    for node in sums:
        operands = sorted(node.all_input_nodes, key=order.__getitem__)
        if len(operands) != 2:
            continue
        skip, end = operands
        branch = _between(skip, end, order)
        if not branch:
            continue
        norms = [str(n.target) for n in sorted(branch, key=order.__getitem__) if _is_batchnorm(n, layers)]
        unit = ResidualUnit(node.name, tuple(norms), _gate(end, layers), _container(graph, node, branch))
        units.append(unit)
    return tuple(units)


def _between(skip: fx.Node, end: fx.Node, order: Mapping[fx.Node, int]) -> set[fx.Node]:
    """Nodes on the paths from `skip` (left out) to `end`; empty if there is no path."""
    onward = {skip}
    for node in order:
        if order[skip] < order[node] <= order[end] and any(i in onward for i in node.all_input_nodes):
            onward.add(node)
    if end not in onward:
        return set()
    found, waiting = set(), [end]
    while waiting:
        node = waiting.pop()
        if node in onward and node not in found and node is not skip:
            found.add(node)
            waiting.extend(node.all_input_nodes)
    return found


def _is_batchnorm(node: fx.Node, layers: Mapping[str, Any]) -> bool:
    layer = layers.get(str(node.target)) if node.op == "call_module" else None
    return layer is not None and layer.kind == "batchnorm"


def _gate(node: fx.Node, layers: Mapping[str, Any]) -> str | None:
    """The BatchNorm reached from the branch's end through activations only."""
    while not _is_batchnorm(node, layers):
        if len(node.all_input_nodes) != 1 or str(node.target) in layers:
            return None
        node = node.all_input_nodes[0]
    return str(node.target)


def _container(graph: fx.Graph, node: fx.Node, branch: set[fx.Node]) -> str | None:
    scope = scope_of(node)
    inside = {n for n in graph.nodes if scope in (entry[0] for entry in _stack(n))}
    return scope if scope and inside == branch | {node} else None


def _stack(node: fx.Node) -> list[tuple[str, Any]]:
    return list((node.meta.get("nn_module_stack") or {}).values())
