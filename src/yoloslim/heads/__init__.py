"""Detection heads, each one class in a file of its own; see `heads.base.Head`. A new one is registered here."""

from yoloslim.heads.base import HEADS, AnyHead, Frozen, Head, Loss, read_head, register_head

__all__ = ["HEADS", "AnyHead", "Frozen", "Head", "Loss", "read_head", "register_head"]
