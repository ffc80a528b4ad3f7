"""Read a Darknet `.cfg`: sections of keys and values, each with the line it stands in."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from yoloslim.errors import WeightsError
from yoloslim.runner.text import NotText, decode_text

Number = TypeVar("Number", int, float)

MAX_BYTES = 2**20
"""The longest public cfg has 50 kB."""

ALIASES = {"network": "net", "conv": "convolutional", "max": "maxpool"}

STRUCTURE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "convolutional": frozenset(
            ["batch_normalize", "filters", "size", "stride", "pad", "padding", "activation", "groups", "dilation"]
        ),
        "maxpool": frozenset(["size", "stride", "padding"]),
        "route": frozenset(["layers", "groups", "group_id"]),
        "shortcut": frozenset(["from", "activation", "weights_type", "weights_normalization"]),
        "upsample": frozenset(["stride"]),
        "avgpool": frozenset(),
        "reorg": frozenset(["stride"]),
        "reorg3d": frozenset(["stride"]),
        "sam": frozenset(["from", "activation"]),
        "scale_channels": frozenset(["from", "activation", "scale_wh"]),
    }
)
"""Keys that say what a layer computes. Any other key in these sections would change it, and is refused."""

KINDS = ("net", *STRUCTURE, "dropout", "yolo")
HARMLESS = frozenset(["stopbackward", "learning_rate_scale", "dontload", "dontloadscales", "burnin_update"])
"""Keys that only concern Darknet's own training."""


@dataclass(frozen=True)
class Section:
    """One `[kind]` with its options.

    Attributes:
        kind: without brackets, aliases resolved.
        line: where it begins, counted from 1.
        options: key -> (value, line).
    """

    kind: str
    line: int
    options: Mapping[str, tuple[str, int]]

    def text(self, key: str, default: str = "") -> str:
        """A value as it stands there."""
        return self.options[key][0] if key in self.options else default

    def integer(self, key: str, default: int) -> int:
        """A whole number.

        Raises:
            WeightsError: it is none.
        """
        return self.integers(key, (default,))[0]

    def integers(self, key: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Whole numbers between commas.

        Raises:
            WeightsError: one of them is none.
        """
        return self._values(key, lambda part: int(part[:12]), "whole number") if key in self.options else default

    def numbers(self, key: str, default: tuple[float, ...] = ()) -> tuple[float, ...]:
        """Numbers between commas.

        Raises:
            WeightsError: one of them is none.
        """
        numbers = self._values(key, float, "number") if key in self.options else default
        if not all(map(math.isfinite, numbers)):
            raise self.error(f"{key}={self.text(key)[:40]} is not finite", key)
        return numbers

    def _values(self, key: str, read: Callable[[str], Number], what: str) -> tuple[Number, ...]:
        value = self.text(key)
        try:
            return tuple(read(part) for part in value.rstrip(",").split(","))
        except ValueError as error:
            raise self.error(f"{key}={value[:40]} is no {what}", key) from error

    def error(self, message: str, key: str = "") -> WeightsError:
        """An error at this section, or at one of its keys."""
        line = self.options[key][1] if key in self.options else self.line
        return WeightsError(f"line {line}, [{self.kind}]: {message}")


def read_cfg(path: Path) -> list[Section]:
    """Read the sections of a file; the first is `net`.

    Raises:
        WeightsError: no such file, no cfg, or a section that is not known here; names the file and the line.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(f"{path}: too long for a cfg ({path.stat().st_size} bytes)")
        return parse_cfg(decode_text(path.read_bytes()))
    except FileNotFoundError as error:
        raise WeightsError(f"cfg {path} is missing") from error
    except (OSError, NotText) as error:
        raise WeightsError(f"{path} is no readable cfg ({error})") from error
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def parse_cfg(text: str) -> list[Section]:
    """Read the sections of a cfg's text.

    Raises:
        WeightsError: as `read_cfg`, with the line.
    """
    sections: list[tuple[str, int, dict[str, tuple[str, int]]]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = "".join(raw.split())  # Darknet takes all blanks out
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            if not line.endswith("]"):
                raise WeightsError(f"line {number}: section {line[:40]} is not closed")
            kind = line[1:-1].lower()
            kind = ALIASES.get(kind, kind)
            if kind not in KINDS:
                raise WeightsError(f"line {number}: section [{kind[:40]}] is not known; known: {', '.join(KINDS)}")
            sections.append((kind, number, {}))
            continue
        key, equals, value = line.partition("=")
        if not equals or not sections:
            raise WeightsError(f"line {number}: '{line[:40]}' is neither a section nor key=value")
        kind, _, options = sections[-1]
        if kind in STRUCTURE and key not in STRUCTURE[kind] | HARMLESS:
            raise WeightsError(
                f"line {number}: [{kind}] with {key[:40]} is not supported; known: {', '.join(sorted(STRUCTURE[kind]))}"
            )
        options[key] = value.split("#")[0], number
    if not sections or sections[0][0] != "net" or sum(kind == "net" for kind, _, _ in sections) > 1:
        raise WeightsError("a cfg begins with one [net] section")
    return [Section(*section) for section in sections]
