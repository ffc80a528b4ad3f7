"""What stands for the classes and objects of a pickle: names and plain values, with nothing behind them."""

import reprlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Global:
    """The name of a class or function: only the name."""

    module: str
    name: str

    def __str__(self) -> str:
        return shorten(f"{self.module}.{self.name}")


@dataclass(eq=False, repr=False)
class Record:
    """An object of any class, inert.

    Attributes:
        kind: its class.
        args: what its constructor would have been given.
        state: its attributes by name.
        mapping: its entries, where its class is a dictionary.
        items: its elements, where its class is a list or set.
    """

    kind: Global
    args: tuple[Any, ...] = ()
    state: dict[Any, Any] = field(default_factory=dict)
    mapping: dict[Any, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<{self.kind}>"


_repr = reprlib.Repr()
_repr.maxlevel, _repr.maxtuple, _repr.maxlist, _repr.maxdict = 2, 4, 4, 2
_repr.maxstring = _repr.maxother = 80


def describe(value: Any) -> str:
    """A value of any size and depth in a few words."""
    return shorten(_repr.repr(value))


def shorten(text: str) -> str:
    """Text from a stranger, short and without control characters."""
    text = "".join(c if c.isprintable() else "?" for c in text[:120])
    return text if len(text) < 120 else f"{text[:117]}..."
