"""Which names a description may give to files and tensors: plain ones, which no shell, path or list takes apart."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,126}")
PLAIN_NAMES = "a plain name: at most 127 letters, digits, '_', '.' and '-', of which '.' and '-' do not come first"


def is_plain(name: object) -> bool:
    """Whether a name is a plain one; see `PLAIN_NAMES`."""
    return isinstance(name, str) and _PLAIN.fullmatch(name) is not None


def is_plain_path(name: object) -> bool:
    """Whether a name is one of a file below a folder: plain names with a slash between them."""
    return isinstance(name, str) and all(is_plain(part) for part in name.split("/"))


def file_name(text: str) -> str:
    """A text such as a class's name as part of a file name: what is no printable character, and `/`, as %XX."""

    def escape(character: str) -> str:
        if character.isprintable() and character not in "/%":
            return character
        return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))

    return "".join(map(escape, text))
