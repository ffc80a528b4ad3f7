"""Products of matrices: which channel ids must agree along the axis that is summed, and which ones the product carries.

A tensor (..., n, k) meets one (..., k, m). Ids may vary along one axis of each: along `k`, where both lose the
same places; along `n` or `m`, where the product has them; or along an axis before those, as whole attention heads do.
"""

from typing import Any

import torch
from torch import Tensor

from yoloslim.pruning.alignment import Propagation
from yoloslim.pruning.graph import Call
from yoloslim.pruning.inputs import tensors_in


def matmul(coupler: Propagation, call: Call) -> Any:
    """`a @ b`."""
    a, b = tensors_in((call.args, call.kwargs))
    return coupler.mix(call) if a.dim() < 2 or b.dim() < 2 else _contract(coupler, a, b, call)


def dot_product(coupler: Propagation, call: Call) -> Any:
    """`softmax(q @ k.T * scale + mask) @ v`.

    Without a `scale` it is the width of a head that scales, so that this width must stay.
    """
    names = ("query", "key", "value", "attn_mask")
    q, k, v, mask = (call.argument(i, name) for i, name in enumerate(names))
    if q.shape[:-2] != k.shape[:-2] or q.dim() < 2:  # heads that share keys
        return coupler.mix(call)
    if call.kwargs.get("scale") is None and coupler.varies(q, -1):
        coupler.protect(q)
    scores = _contract(coupler, q, k.transpose(-2, -1), call)
    if isinstance(mask, Tensor):
        scores = coupler.join(scores, mask, call)
    return _contract(coupler, scores, v, call)


def _contract(coupler: Propagation, a: Tensor, b: Tensor, call: Call) -> Tensor:
    along_k = coupler.varies(a, -1) or coupler.varies(b, -2)
    if along_k:
        coupler.couple(a.transpose(-2, -1), b[..., :1])
    first, second = coupler.canonical(a), coupler.canonical(b)
    rows, columns = coupler.varies(first, -2), coupler.varies(second, -1)
    if (along_k and (rows or columns)) or (rows and columns):
        return _solid_product(coupler, a, b, protect=True)
    heads = _heads(coupler, first), _heads(coupler, second)
    by_head = [any(coupler.varies(x, axis) for axis in range(x.dim() - 2)) for x in heads]
    if any(by_head):
        coupler.couple(*heads)
    if rows:
        return first[..., :1].expand(*_batch(a, b), a.shape[-2], b.shape[-1])
    if columns:
        return second[..., :1, :].expand(*_batch(a, b), a.shape[-2], b.shape[-1])
    if any(by_head):
        return heads[0 if by_head[0] else 1].expand(*_batch(a, b), a.shape[-2], b.shape[-1])
    return _solid_product(coupler, a, b)


def _heads(coupler: Propagation, x: Tensor) -> Tensor:
    """(..., 1, 1): the id of a whole matrix, solid where it has several."""
    one = x[..., :1, :1]
    return one.where((x == one).all(-1, keepdim=True).all(-2, keepdim=True), coupler.solid())


def _batch(a: Tensor, b: Tensor) -> tuple[int, ...]:
    return tuple(torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]))  # type: ignore[no-untyped-call]


def _solid_product(coupler: Propagation, a: Tensor, b: Tensor, protect: bool = False) -> Tensor:
    if protect:
        coupler.protect(a)
        coupler.protect(b)
    return coupler.solid().expand(*_batch(a, b), a.shape[-2], b.shape[-1])
