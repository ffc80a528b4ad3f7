"""YAML and JSON that people hand in, read with limits: no bomb, no deep nesting, no key twice, no infinite number."""

import json
import math
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import yaml

from yoloslim.errors import ConfigError, YoloslimError
from yoloslim.runner.bounded import read_bounded
from yoloslim.runner.instead import instead
from yoloslim.runner.text import NotText, decode_text, read_lines

MAX_YAML_BYTES = 2**20
"""Longer YAML is data, not settings."""
MAX_JSON_BYTES = 4 * 2**30
MAX_DEPTH = 32
MAX_NODES = 100_000
"""Values of a document with all its aliases written out."""
MAX_DIGITS = 18
"""Of a whole number: what fits into 64 bits."""

_DIGITS_TO_0 = bytes.maketrans(b"123456789", b"000000000")
_SUSPECT = (b"0" * (MAX_DIGITS + 1), b"e000", b"e+000", b"E000", b"E+000")

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """Safe YAML, with the limits above."""

    def get_single_data(self) -> Any:
        node = self.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return self.construct_document(node)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                if key.value in seen:
                    raise _Refused(
                        f"line {line}: the key '{_short(key.value)}' is there already, in line {seen[key.value]}; "
                        "only one of them can count"
                    )
                seen[key.value] = line
        return super().construct_mapping(node, deep)  # type: ignore[no-any-return]

    def construct_yaml_int(self, node: Any) -> int:
        if len(node.value) > MAX_DIGITS:
            raise _Refused(
                f"line {node.start_mark.line + 1}: a number of {len(node.value)} digits; {MAX_DIGITS} are allowed"
            )
        if ":" in node.value:
            raise _Refused(f"line {node.start_mark.line + 1}: '{node.value}' would be a number in base 60")
        return super().construct_yaml_int(node)  # type: ignore[no-any-return]

    def construct_yaml_float(self, node: Any) -> float:
        if ":" in node.value:
            raise _Refused(f"line {node.start_mark.line + 1}: '{_short(node.value)}' would be a number in base 60")
        value: float = super().construct_yaml_float(node)
        if not math.isfinite(value):
            raise _Refused(f"line {node.start_mark.line + 1}: '{_short(node.value)}' is no finite number")
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


class _Refused(ValueError):
    pass


class _Plain(_Loader):
    """Takes nothing for a number, a date or a truth value."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


def read_yaml(path: Path, error_class: type[YoloslimError] = ConfigError, plain: bool = False) -> Any:
    """Read a YAML file: UTF-8, or UTF-16 with its mark; `plain` leaves numbers and the like as the text they are.

    Raises:
        YoloslimError: of `error_class`; it cannot be read, or see `parse_yaml`.
    """
    return parse_yaml(read_text(path, MAX_YAML_BYTES, error_class), str(path), error_class, plain)


def parse_yaml(text: str, origin: str, error_class: type[YoloslimError] = ConfigError, plain: bool = False) -> Any:
    """Parse one YAML document, within a second whatever it holds.

    Args:
        text: the document.
        origin: what to call it in messages.
        error_class: what to raise.
        plain: every scalar is the text that was written.

    Raises:
        YoloslimError: of `error_class`; malformed, too long or deep, an alias bomb, a key twice, a number that is
            infinite or of more than 18 digits.
    """
    try:
        if len(text) > MAX_YAML_BYTES:
            raise _Refused(f"{len(text)} characters; {MAX_YAML_BYTES} are allowed")
        depth = 0
        for event in yaml.parse(text, Loader=_Base):  # lazily, so that nothing deep is ever built
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise _Refused(f"nested more than {MAX_DEPTH} deep")
        return yaml.load(text, Loader=_Plain if plain else _Loader)  # a subclass of the safe loader
    except (
        yaml.YAMLError,
        ValueError,
        LookupError,
        ArithmeticError,
        RecursionError,
        TypeError,
        AttributeError,
    ) as error:
        raise error_class(f"{origin} is not valid YAML: {_short(str(error), 600)}{_unquoted(text, error)}") from error


def read_json_file(path: Path, error_class: type[YoloslimError], finite: bool = True) -> Any:
    """Read a JSON file: UTF-8, or UTF-16 with its mark; `finite`: see `parse_json`.

    Raises:
        YoloslimError: of `error_class`; it cannot be read, or see `parse_json`.
    """
    return parse_json(read_text(path, MAX_JSON_BYTES, error_class), str(path), error_class, finite)


def parse_json(text: str, origin: str, error_class: type[YoloslimError], finite: bool = True) -> Any:
    """Parse JSON; `finite=False` takes NaN and infinities, as metrics may be.

    Raises:
        YoloslimError: of `error_class`; malformed or too deep, a key twice, NaN or an infinite or endless number.
    """
    # What _whole and _finite refuse holds one of these; to look at each number takes as long as all the rest.
    digits = text.encode("utf-8", "surrogatepass").translate(_DIGITS_TO_0)
    suspect = any(mark in digits for mark in _SUSPECT)
    strict: Any = {"parse_int": _whole, "parse_float": _finite if finite else float} if suspect else {}
    try:
        constant = _no_constant if finite else float
        return json.loads(text, object_pairs_hook=_object, parse_constant=constant, **strict)
    except (ValueError, RecursionError, OverflowError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else _short(str(error), 300)
        raise error_class(f"{origin} is not valid JSON: {reason}") from error


def read_text(path: Path, max_bytes: int, error_class: type[YoloslimError] = ConfigError) -> str:
    """The text of a file that people edit, see `runner.text.decode_text`.

    Raises:
        YoloslimError: of `error_class`; missing, too long, or no text.
    """
    try:
        data = read_bounded(path, max_bytes)
        if other := instead(data):
            raise error_class(f"{path} is {other}")
        return decode_text(data)
    except OSError as error:
        raise error_class(f"cannot read {path}: {error.strerror or error}") from error
    except NotText as error:
        raise error_class(f"{path} {error}") from error


def read_list(path: Path, what: str, error_class: type[YoloslimError]) -> list[str]:
    """The lines of a text file, see `runner.text.read_lines`.

    Args:
        path: the file.
        what: it is, for the message.
        error_class: of what is raised.

    Raises:
        YoloslimError: of `error_class`; it cannot be read, or is no text.
    """
    try:
        return read_lines(path)
    except NotText as error:
        raise error_class(f"{what} {path} {error}") from error
    except OSError as error:
        raise error_class(f"{what} {path} cannot be read: {error.strerror or error}") from error


def _count(node: Any, known: dict[int, int]) -> int:
    """Nodes below and at `node` with aliases written out; refuses bombs and circles."""
    if id(node) in known:
        if not known[id(node)]:
            raise _Refused(f"line {node.start_mark.line + 1}: an alias that holds itself")
        return known[id(node)]
    known[id(node)] = 0
    total = 1
    if not isinstance(node, yaml.ScalarNode):
        for child in node.value:
            total += sum(_count(part, known) for part in (child if isinstance(child, tuple) else (child,)))
            if total > MAX_NODES:
                raise _Refused(f"line {node.start_mark.line + 1}: more than {MAX_NODES} values, aliases written out")
    known[id(node)] = total
    return total


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f"the key '{_short(twice)}' stands twice in one object; only one of them can count")
    return found


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS + 1:
        raise _Refused(f"a number of {len(text)} digits; {MAX_DIGITS} are allowed")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Refused(f"'{_short(text)}' is no finite number")
    return value


def _no_constant(text: str) -> NoReturn:
    raise _Refused(f"{text} is no number in JSON")


def _short(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[:length]}..."


def _unquoted(text: str, error: Exception) -> str:
    """What to write where a value begins with a character that means something in YAML, as cron lines do."""
    mark = getattr(error, "problem_mark", None)
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    found = re.match(r"\s*([\w-]+):\s+([*@&%`].*?)\s*(#.*)?$", line)
    if not found and re.search(r'"[^"]*\\', line):
        return "; in double quotes a backslash means something else: write / instead"
    return f'; write it in quotes: {found[1]}: "{found[2]}"' if found else ""
