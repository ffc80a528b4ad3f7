"""Text that people edit, as bytes become words: byte-order marks, UTF-16, line ends, the encodings of XML."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from xml.etree import ElementTree

from .bounded import MAX_TEXT_BYTES, read_bounded

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte-order marks and what they stand for."""

WIDER = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "cp936": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
"""Codecs that files name, and the one that holds all their characters and those that tools write under that name."""

GUESSES = ("gb18030", "shift_jis", "euc-kr", "big5")
"""Codecs that are tried on bytes that are not UTF-8, for a message only."""

_NO_TEXT = ("unicode_escape", "raw_unicode_escape", "idna", "punycode", "undefined", "utf_7")
_DECLARED = re.compile(r"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._\-]{1,40})["'][^>]*?\?>""")


class NotText(ValueError):
    """Bytes that are no text in any encoding they could be read by; the message ends the sentence 'FILE ...'."""


def decode_text(data: bytes) -> str:
    """UTF-8, or what a byte-order mark or the zero bytes of UTF-16 say; the mark is taken off.

    Raises:
        NotText: it is neither; the message names the encodings that would fit.
    """
    mark, codec = _mark(data)
    try:
        return data[len(mark) :].decode(codec)
    except UnicodeDecodeError as error:
        raise NotText(_explained(data, codec, error)) from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped, without the empty ones.

    Only line feed and carriage return end a line: U+2028 and its like may stand in a name.

    Raises:
        NotText: no text.
        OSError: it cannot be read.
    """
    text = decode_text(read_bounded(path, MAX_TEXT_BYTES))
    return [line.strip() for line in re.split("\r\n|\r|\n", text) if line.strip()]


def decode_xml(data: bytes) -> str | bytes:
    """An XML file as its parser wants it: bytes where it can read them itself, or text without a declaration.

    Expat knows UTF-8, UTF-16 and single-byte encodings; the multi-byte ones of East Asia are decoded here.

    Raises:
        NotText: an encoding that does not exist, or bytes that are not in it.
    """
    mark, codec = _mark(data)
    head = data[len(mark) : len(mark) + 200].decode("latin-1" if codec == "utf-8" else codec, "replace")
    found = _DECLARED.match(head)
    if mark or codec != "utf-8":  # the mark is right where the declaration differs
        return _undeclared(decode_text(data))
    if found is None:
        decode_text(data)
        return data
    name = found[1]
    try:
        known = codecs.lookup(name)
    except LookupError as error:
        raise NotText(f"declares the encoding '{name}', which does not exist") from error
    plain = known.name.replace("-", "_").lower()
    if plain in _NO_TEXT or not getattr(known, "_is_text_encoding", True):
        raise NotText(f"declares the encoding '{name}', which is none for XML")
    if plain.startswith(("utf_16", "utf_32")):  # with neither mark nor zero bytes it is plain text under a wrong name
        plain = "utf_8"
    for attempt in dict.fromkeys((plain, WIDER.get(plain, plain))):
        try:
            return _undeclared(data.decode(attempt))
        except UnicodeDecodeError as error:
            last = error
    raise NotText(f"declares the encoding '{name}', but is not written in it: {_explained(data, plain, last)}")


def parse_xml(data: bytes) -> ElementTree.Element:
    """The root of an XML file without entities.

    Raises:
        NotText: see `decode_xml`; or it defines entities, which no annotation needs.
        ElementTree.ParseError: not well-formed.
    """
    text = decode_xml(data)
    if b"<!ENTITY" in data or (isinstance(text, str) and "<!ENTITY" in text):
        raise NotText("defines XML entities, which no annotation needs")
    return ElementTree.fromstring(text)


def _undeclared(text: str) -> str:
    found = _DECLARED.match(text)
    return text[found.end() :] if found else text


def _mark(data: bytes) -> tuple[bytes, str]:
    for mark, codec in MARKS:
        if data.startswith(mark):
            return mark, codec
    start = data[:64]
    if len(start) >= 4 and len(start) % 2 == 0:
        for first, codec in ((1, "utf-16-le"), (0, "utf-16-be")):
            zeros, others = start[first::2], start[1 - first :: 2]
            if not any(zeros) and all(others):
                return b"", codec
    return b"", "utf-8"


def _explained(data: bytes, codec: str, error: UnicodeDecodeError) -> str:
    fits = [name for name in GUESSES if _fits(data, name)] if codec != "utf-16-le" else []
    hint = (
        f"; its bytes would fit {' or '.join(fits)}: save it as UTF-8, or declare the one that is right" if fits else ""
    )
    return f"is not {codec.replace('_', '-').upper()} (byte {error.start}){hint}"


def _fits(data: bytes, codec: str) -> bool:
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return True
