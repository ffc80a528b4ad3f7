"""Changes a list in params.yaml, and nothing else in it."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from yoloslim.errors import ConfigError
from yoloslim.files import write_text


def set_list(path: Path, key: str, values: Sequence[int]) -> None:
    """Give a list at the top level of params.yaml other values; comments and all other lines stay.

    The file is left alone if the values are there already, and is replaced as a whole otherwise, so that whoever reads
    it meanwhile finds one or the other.

    Raises:
        ConfigError: the list is written in a way that cannot be changed line by line, or is missing.
    """
    text = path.read_text(encoding="utf-8")
    if (yaml.safe_load(text) or {}).get(key) == list(values):
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
    if (yaml.safe_load(changed) or {}).get(key) != list(values):
        raise ConfigError(f"{path}: cannot change the list `{key}:`; write it as `{key}: [10, 20]`, on one line")
    write_text(path, changed)
