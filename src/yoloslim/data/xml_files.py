"""XML of data sets: in whatever encoding it declares, of bounded length, and safe."""

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException, DTDForbidden
from defusedxml.ElementTree import fromstring

from yoloslim.errors import DataError
from yoloslim.runner.bounded import MAX_XML_BYTES, read_bounded
from yoloslim.runner.text import NotText, decode_xml


def read_xml(path: Path) -> Element:
    """The root of an XML file in whatever encoding it declares; see `runner.text`.

    Raises:
        DataError: missing, empty, too long, malformed, or in another encoding than it says.
    """
    return root_of(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """What a file holds.

    Raises:
        DataError: missing, too long, or not to be read.
    """
    try:
        return read_bounded(path, MAX_XML_BYTES)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; add it, or remove the image from its image set") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def root_of(data: bytes, path: Path) -> Element:
    """The root of what a file holds; nothing outside it is read, and no entity expanded.

    Raises:
        DataError: empty, malformed, with a document type, or in another encoding than it says.
    """
    try:
        if not data.strip():
            raise DataError(f"{path} is empty; write an <annotation>, or remove the image from its image set")
        return fromstring(decode_xml(data), forbid_dtd=True)
    except NotText as error:
        raise DataError(f"{path} {error}") from error
    except DTDForbidden as error:
        raise DataError(
            f"{path} holds a document type (<!DOCTYPE ...>), which is not read, since it can make a file endless; "
            "delete that part of it"
        ) from error
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        raise DataError(f"{path} is not well-formed XML: {str(error)[:200]}") from error
