"""Products of matrices: which labels must agree along the axis that is summed, and which ones the product carries.

A tensor (..., n, k) meets one (..., k, m). Labels may vary along one axis of each: along `k`, where both lose the
same places; along `n` or `m`, where the product has them; or along an axis before those, as whole attention heads do.
"""

from typing import Any

import torch
from torch import Tensor

from yoloslim.pruning.alignment import Propagation
from yoloslim.pruning.graph import Call
from yoloslim.pruning.inputs import tensors_in


def matmul(labels: Propagation, call: Call) -> Any:
    """`a @ b`."""
    a, b = tensors_in((call.args, call.kwargs))
    return _mixed(labels, call) if a.dim() < 2 or b.dim() < 2 else _contract(labels, a, b, call)


def dot_product(labels: Propagation, call: Call) -> Any:
    """`softmax(q @ k.T * scale + mask) @ v`.

    Without a `scale` it is the width of a head that scales, so that this width must stay.
    """
    names = ("query", "key", "value", "attn_mask")
    q, k, v, mask = (call.argument(i, name) for i, name in enumerate(names))
    if q.shape[:-2] != k.shape[:-2] or q.dim() < 2:  # heads that share keys
        return _mixed(labels, call)
    if call.kwargs.get("scale") is None and labels.varies(q, -1):
        labels.protect(q)
    scores = _contract(labels, q, k.transpose(-2, -1), call)
    if isinstance(mask, Tensor):
        scores = labels.join(scores, mask, call)
    return _contract(labels, scores, v, call)


def _contract(labels: Propagation, a: Tensor, b: Tensor, call: Call) -> Tensor:
    along_k = labels.varies(a, -1) or labels.varies(b, -2)
    if along_k:
        labels.tie(a.transpose(-2, -1), b[..., :1])
    first, second = labels.canonical(a), labels.canonical(b)
    rows, columns = labels.varies(first, -2), labels.varies(second, -1)
    if (along_k and (rows or columns)) or (rows and columns):
        return _solid_product(labels, a, b, protect=True)
    heads = _heads(labels, first), _heads(labels, second)
    by_head = [any(labels.varies(x, axis) for axis in range(x.dim() - 2)) for x in heads]
    if any(by_head):
        labels.tie(*heads)
    if rows:
        return first[..., :1].expand(*_batch(a, b), a.shape[-2], b.shape[-1])
    if columns:
        return second[..., :1, :].expand(*_batch(a, b), a.shape[-2], b.shape[-1])
    if any(by_head):
        return heads[0 if by_head[0] else 1].expand(*_batch(a, b), a.shape[-2], b.shape[-1])
    return _solid_product(labels, a, b)


def _heads(labels: Propagation, x: Tensor) -> Tensor:
    """(..., 1, 1): the label of a whole matrix, solid where it has several."""
    one = x[..., :1, :1]
    return one.where((x == one).all(-1, keepdim=True).all(-2, keepdim=True), labels.solid())


def _batch(a: Tensor, b: Tensor) -> tuple[int, ...]:
    return tuple(torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]))  # type: ignore[no-untyped-call]


def _solid_product(labels: Propagation, a: Tensor, b: Tensor, protect: bool = False) -> Tensor:
    if protect:
        labels.protect(a)
        labels.protect(b)
    return labels.solid().expand(*_batch(a, b), a.shape[-2], b.shape[-1])


def _mixed(labels: Propagation, call: Call) -> Any:
    return labels.mix(call)
