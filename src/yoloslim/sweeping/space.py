"""Axes besides percent: combinations of values for keys of params.yaml, each a variant of the project."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yoloslim.config import Params, parse_params
from yoloslim.config.edit import assign
from yoloslim.errors import ConfigError

FORBIDDEN = ("percents", "probes", "sweep", "tracking")
"""What a sweep sets itself, or what changes no model."""


@dataclass(frozen=True)
class Variant:
    """Keys of params.yaml that differ from the checkout's; none for the checkout itself."""

    overrides: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """For people: `scope=free,round_to=16`; empty for the checkout itself."""
        return ",".join(f"{key.rpartition('.')[2]}={value}" for key, value in self.overrides)

    @property
    def id(self) -> str:
        """For folders: short, and the same for the same overrides."""
        return hashlib.sha256(json.dumps(self.overrides).encode()).hexdigest()[:10] if self.overrides else ""

    def point(self, percent: int) -> str:
        """Name of one of its points."""
        return f"{self.name}/{percent}" if self.overrides else str(percent)


HERE = Variant()
"""The checkout itself."""


def variants(params: Params) -> Iterator[Variant]:
    """All combinations of the axes; what equals the checkout's own values is left out of the overrides."""
    axes = params.sweep.axes
    for values in itertools.product(*axes.values()):
        yield variant(params, dict(zip(axes, values, strict=True)))


def variant(params: Params, values: Mapping[str, Any]) -> Variant:
    """The variant that has these values."""
    raw = params.model_dump(mode="json")
    return Variant(tuple((key, value) for key, value in values.items() if _value(raw, key) != value))


def check_axes(params: Params) -> None:
    """Try every value of every axis against the schema, before anything runs.

    Raises:
        ConfigError: an unknown key, a value out of range, an axis without values, or one that no sweep may change.
    """
    for key, values in params.sweep.axes.items():
        if key.split(".")[0] in FORBIDDEN:
            raise ConfigError(f"sweep.axes: '{key}' is not for a sweep to change; percent is searched in any case")
        if not values:
            raise ConfigError(f"sweep.axes: '{key}' has no values to try")
        for value in values:
            raw = params.model_dump(mode="json")
            assign(raw, {key: value})
            parse_params(raw, f"sweep.axes: {key} = {value!r}")


def _value(raw: Any, key: str) -> Any:
    for part in key.split("."):
        raw = raw[part]
    return raw


def describe(params: Params) -> dict[str, tuple[Any, ...]]:
    """The axes as metrics/sweep.json has them."""
    p = params.sweep
    return {"percent": (p.low, p.high, p.step)} | {key: tuple(values) for key, values in p.axes.items()}


def combinations(axes: Mapping[str, Sequence[Any]]) -> int:
    """How many variants there are."""
    return math.prod(len(values) for values in axes.values())
