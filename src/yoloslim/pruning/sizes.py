"""Sizes of tensors that remember where they were read, as the recorder hands them out."""

from typing import Any

from torch import fx


class Dim(int):
    """A size that was read off a tensor, or computed from such sizes.

    Attributes:
        source: the node and the axis it was read off; None if nothing is known of it.
    """

    source: tuple[fx.Node, int] | None = None

    def _made(self, value: Any) -> Any:
        if type(value) is not int:
            return value
        made = Dim(value)
        made.source = self.source
        return made

    def _as_value(self) -> float:
        """A size that becomes a number like any other, and so must not change."""
        if self.source is not None:
            node, axis = self.source
            node.meta.setdefault("counted", set()).add(axis)
        return float(int(self))

    def __add__(self, other: Any) -> Any:
        return self._made(int(self) + other)

    def __sub__(self, other: Any) -> Any:
        return self._made(int(self) - other)

    def __rsub__(self, other: Any) -> Any:
        return self._made(other - int(self))

    def __mul__(self, other: Any) -> Any:
        return self._made(int(self) * other)

    def __floordiv__(self, other: Any) -> Any:
        return self._made(int(self) // other)

    def __mod__(self, other: Any) -> Any:
        return self._made(int(self) % other)

    def __neg__(self) -> Any:
        return self._made(-int(self))

    def __float__(self) -> float:
        return self._as_value()

    def __truediv__(self, other: Any) -> Any:
        return self._as_value() / other

    def __rtruediv__(self, other: Any) -> Any:
        return other / self._as_value()

    def __pow__(self, other: Any, modulo: None = None) -> Any:  # type: ignore[override]
        return self._as_value() ** other

    def __eq__(self, other: object) -> bool:
        if type(other) is int:  # a check that the code makes: the answer must not change
            self._as_value()
        return int(self) == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = int.__hash__
    __radd__, __rmul__ = __add__, __mul__
