"""Changes values in params.yaml, and nothing else in it."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

from yoloslim.config import parse_params
from yoloslim.documents import MAX_YAML_BYTES, parse_yaml, read_text
from yoloslim.errors import ConfigError
from yoloslim.files import write_text


def set_list(path: Path, key: str, values: Sequence[int]) -> None:
    """Give a list at the top level of params.yaml other values; comments and all other lines stay.

    The file is left alone if the values are there already, and is replaced as a whole otherwise, so that whoever reads
    it meanwhile finds one or the other.

    Raises:
        ConfigError: the list is written in a way that cannot be changed line by line, or is missing.
    """
    text = _text(path)
    if (parse_yaml(text, str(path)) or {}).get(key) == list(values):
        return
    pattern = rf"^{key}:[ \t]*(?P<flow>\[[^\]\n]*\])?(?P<comment>[ \t]*(#[^\n]*)?)\n(?P<items>([ \t]*- [^\n]*\n)*)"
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise ConfigError(f"{path} has no list `{key}:`; write `{key}: []` into it")
    comment, block = found["comment"].strip(), bool(found["items"])
    flow = "" if block and values else " [" + ", ".join(map(str, values)) + "]"
    head = f"{key}:{flow}"
    lines = [f"{head:<27} {comment}".rstrip()] + ([f"  - {value}" for value in values] if block else [])
    changed = text[: found.start()] + "\n".join(lines) + "\n" + text[found.end() :]
    if (parse_yaml(changed, str(path)) or {}).get(key) != list(values):
        raise ConfigError(f"{path}: cannot change the list `{key}:`; write it as `{key}: [10, 20]`, on one line")
    write_text(path, changed)


def set_values(path: Path, changes: Mapping[str, Any]) -> None:
    """Give keys of params.yaml other values; comments and all other lines stay.

    Args:
        path: of params.yaml.
        changes: dotted key (`prune.scope`, `imgsz`) -> value.

    Raises:
        ConfigError: the file does not hold up with the changes; it is left as it was.
    """
    parser = yaml_parser()
    document = load_document(path, parser)
    assign(document, changes)
    stream = io.StringIO()
    parser.dump(document, stream)
    origin = f"{path} with {dict(changes)}"
    parse_params(parse_yaml(stream.getvalue(), origin), origin)
    write_text(path, stream.getvalue())


def assign(document: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Set dotted keys in nested dictionaries."""
    for key, value in changes.items():
        *sections, name = key.split(".")
        place = document
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value


def load_document(path: Path, parser: YAML) -> Any:
    """params.yaml with its comments, after the limits of `documents` have been seen to hold.

    Raises:
        ConfigError: it cannot be read, or is no YAML that holds up.
    """
    text = _text(path)
    parse_yaml(text, str(path))
    return parser.load(text) or {}


def _text(path: Path) -> str:
    return read_text(path, MAX_YAML_BYTES)


class _Representer(RoundTripRepresenter):
    """Writes `null` as such, not as nothing."""


_Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))


def yaml_parser() -> YAML:
    """Reads and writes YAML as params.yaml is laid out, keeping comments in their columns."""
    parser = YAML()
    parser.Representer = _Representer
    parser.preserve_quotes = True
    parser.width = 4096
    parser.indent(mapping=2, sequence=4, offset=2)
    return parser
