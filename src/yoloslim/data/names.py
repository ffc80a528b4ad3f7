"""Names of classes and images, settled once, so that no later stage meets a line break, a slash or a hidden mark."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import PurePath

from yoloslim.errors import DataError

MAX_LENGTH = 80
"""Characters of a settled name: result files are called after classes, and file systems end at 255 bytes."""

_JOINERS = "\u200c\u200d"  # part of how Persian and Indic words are spelled


@lru_cache(maxsize=4096)
def settle_class(name: str) -> str:
    """A class name as every later stage can write it: in a line, in a file name, behind a blank.

    White space and control characters become one blank, invisible marks go, `/`, `\\`, `:` and a leading `#` become
    `_`, characters are composed (NFC).
    """
    text = "".join(_plain(c) for c in unicodedata.normalize("NFC", name))
    text = re.sub(r'[/\\:*?"<>|]', "_", " ".join(text.split()))[:MAX_LENGTH].strip()
    text = re.sub(r"^#+|^\.+", "_", text)
    return text


def note_on_renamed(written: Iterable[str]) -> list[str]:
    """A note on class names that are other ones once they are settled; blanks around them are not worth one."""
    found = {name: settle_class(name) for name in sorted(set(written))}
    told = {name: settled for name, settled in found.items() if composed(name.strip()) != settled}
    if not told:
        return []
    shown = ", ".join(f"{settled!r} for {name.strip()[:MAX_LENGTH]!a}" for name, settled in list(told.items())[:5])
    return [f"{len(told)} class names are written otherwise here: {shown}{' ...' if len(told) > 5 else ''}"]


def settle_image(name: str) -> str:
    """An image's name as the prepared folder has it: as a class name, and without blanks.

    Lists and result files put blanks between columns.
    """
    text = settle_class(name).replace(" ", "_")
    return f"_{text[1:]}" if text.startswith("-") else text or "_"


def composed(name: str) -> str:
    """Composed characters (NFC): what macOS and Linux write differently is the same name."""
    return unicodedata.normalize("NFC", name)


def stem_of(path: PurePath) -> str:
    """A file's name without its suffix, composed."""
    return composed(path.stem)


def unique_names(keys: Sequence[str], files: Iterable[object] = ()) -> list[str]:
    """Settled names of images given by relative path without suffix; unique, in step with `keys`.

    The last part is the name; where two share it, folders are put in front of both.

    Raises:
        DataError: two have one name all the same; it shows their `files`, or their keys where there are none.
    """
    names = [settle_image(key.rpartition("/")[2]) for key in keys]
    parts = 2
    while len(set(names)) < len(names) and parts < 8:
        twice = _twice(names)
        names = [
            settle_image("-".join(key.split("/")[-parts:])) if name in twice else name
            for key, name in zip(keys, names, strict=True)
        ]
        parts += 1
    twice = _twice(names)
    if twice:
        first, second, *_ = [str(file) for file, name in zip(list(files) or keys, names, strict=True) if name in twice]
        raise DataError(f"two images of one name: {first!a} and {second!a}; rename one of them")
    return names


def near_equal(classes: Iterable[str]) -> list[list[str]]:
    """Groups of classes that differ only in case, blanks, `_` or `-`, which are rarely meant to be two."""
    groups: dict[str, list[str]] = {}
    for name in classes:
        groups.setdefault(re.sub(r"[\s_\-]+", "", name.casefold()), []).append(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def _twice(names: Sequence[str]) -> set[str]:
    seen: set[str] = set()
    return {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]


def _plain(character: str) -> str:
    kind = unicodedata.category(character)
    if kind in ("Cc", "Zl", "Zp") or character.isspace():
        return " "
    if kind == "Cs":  # a byte of a name that is not UTF-8
        return f"_{ord(character) & 0xFF:02x}"
    return "" if kind == "Cf" and character not in _JOINERS else character
