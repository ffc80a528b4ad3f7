"""Layouts of data sets: one reader a file, which registers itself, and one import below."""

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from yoloslim.config.data import SOURCES
from yoloslim.data.packed import Rows
from yoloslim.data.voc import RawAnnotation
from yoloslim.errors import DataError
from yoloslim.nearest import check_name


@dataclass(slots=True)
class Item:
    """One image as a layout names it.

    Attributes:
        name: settled and unique; the prepared folder calls the image so.
        image: its file; None where there is none.
        file: where its boxes stand, for messages.
        raw: its boxes as written, or why they cannot be read.
        lost: boxes that are known to be lost because of it, where `raw` is an error.
    """

    name: str
    image: Path | None
    file: Path
    raw: RawAnnotation | DataError
    lost: int = 0


class Items:
    """Items as a list has them, but in a temporary file; the names alone are held."""

    def __init__(self) -> None:
        """Begin with none."""
        self.names: list[str] = []
        self._rows = Rows()

    def __len__(self) -> int:
        return len(self.names)

    def append(self, item: Item) -> None:
        """Keep one more."""
        raw = str(item.raw) if isinstance(item.raw, DataError) else item.raw.plain()
        self._rows.append((None if item.image is None else str(item.image), str(item.file), raw, item.lost))
        self.names.append(item.name)

    def __getitem__(self, number: int) -> Item:
        image, file, plain, lost = self._rows[number]
        raw = DataError(plain) if isinstance(plain, str) else RawAnnotation.of(plain)
        return Item(self.names[number], None if image is None else Path(image), Path(file), raw, lost)

    def __iter__(self) -> Iterator[Item]:
        return (self[number] for number in range(len(self)))


@dataclass
class Found:
    """What a reader found.

    Attributes:
        layout: name of the reader.
        root: the folder that paths in messages are relative to.
        items: the images, in the order of the report; `Items` of a large set take a tenth of the memory of a list.
        classes: as the layout lists them; empty has them collected from the boxes, sorted.
        sets: image sets by name -> names of items.
        given: split -> name of the set that the layout itself says it is.
        notes: what a person should know.
        unlabelled: images without boxes that the layout does not take for background.
    """

    layout: str
    root: Path
    items: list[Item] | Items
    classes: tuple[str, ...] = ()
    sets: dict[str, list[str]] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)

    def names(self) -> list[str]:
        """Of the items, in step."""
        return self.items.names if isinstance(self.items, Items) else [item.name for item in self.items]


Wanted = Mapping[str, str]
"""Split -> name of the image set that the parameters name for it; empty where they name none."""


@dataclass(frozen=True)
class Reader:
    """A layout: `find` says where below a path it lies (None: nowhere), `read` reads it."""

    name: str
    about: str
    find: Callable[[Path], Path | None]
    read: Callable[[Path, Wanted], Found]


_READERS: dict[str, Reader] = {}

ORDER = ("voc", "yolo", "coco", "cvat", "labelme")
"""In which `auto` tries them."""


def register_dataset(reader: Reader) -> Reader:
    """Make a layout known under its name, which `data.source` then takes; a name that is taken gets the new one.

    Raises:
        DataError: no Reader.
    """
    if not isinstance(reader, Reader):
        raise DataError(f"register_dataset takes a yoloslim.data.layouts.Reader, not a {type(reader).__name__}")
    _READERS[reader.name] = reader
    SOURCES.setdefault(reader.name, reader.about)
    return reader


@contextmanager
def named(reader: Reader, path: Path) -> Iterator[None]:
    """Name a reader that somebody registered where its own code fails on a path; the layouts here raise DataErrors.

    Raises:
        DataError: it has failed; says with what, where, and what to do.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        if getattr(reader.read, "__module__", "").startswith("yoloslim."):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise DataError(
            f"the reader of layout {reader.name}, which was registered by register_dataset, failed on {path}: "
            f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno}); mend it there, or raise a "
            "DataError that says what is wrong with the data"
        ) from error


def readers() -> dict[str, Reader]:
    """All layouts, in the order in which `auto` tries them."""
    from yoloslim.data.layouts import coco, cvat, labelme, voc, yolo  # noqa: F401 - they register themselves

    return {name: _READERS[name] for name in (*ORDER, *(name for name in _READERS if name not in ORDER))}


def check_layout(name: str) -> None:
    """Refuse a layout that nothing reads.

    Raises:
        DataError: there is none of this name, and it is not `auto`.
    """
    check_name("layout", name, ("auto", *readers()), DataError)


SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "trainval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What folders and files call a split, in lower case -> what it is."""


def split_in(key: str) -> str:
    """The split that a path below the root names by one of its folders; empty if none does."""
    for part in key.lower().split("/")[:-1]:
        if part in SPLIT_NAMES:
            return SPLIT_NAMES[part]
    return ""
