"""Detection heads, each one class; see `heads.base.Head`. A new one is registered here."""

from yoloslim.heads.anchor import AnchorHead
from yoloslim.heads.anchor_free import AnchorFreeHead
from yoloslim.heads.base import HEADS, AnyHead, Frozen, Head, Loss, read_head, register_head

register_head(AnchorHead)
register_head(AnchorFreeHead)

__all__ = ["HEADS", "AnchorFreeHead", "AnchorHead", "AnyHead", "Frozen", "Head", "Loss", "read_head", "register_head"]
