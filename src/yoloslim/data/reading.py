"""What readers share: pictures by path and name, splits by folder, polygons as boxes."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from yoloslim.data.folders import is_image, key_of, unread_pictures, walk
from yoloslim.data.layouts import Found, split_in
from yoloslim.data.names import composed, unique_names
from yoloslim.data.voc import SPLITS
from yoloslim.errors import DataError

Box = tuple[float, float, float, float]
MOST = 1e9
"""Pixels from the corner of an image; what is farther away is no place, and infinite before long."""


class Pictures:
    """The image files below a folder, found by path or, if that is told apart by it, by name."""

    def __init__(self, root: Path) -> None:
        """Look at all of it."""
        files = list(walk(root))
        self.root = root
        self.files = [path for path in files if is_image(path)]
        self.unread = unread_pictures(files)
        self._by_path = {composed(p.relative_to(root).as_posix()): p for p in self.files}
        self._by_name: dict[str, list[str]] = {}
        for path in self._by_path:
            self._by_name.setdefault(path.rpartition("/")[2], []).append(path)

    def find(self, stated: str, beside: Path) -> Path | None:
        """The picture that a file in the folder `beside` calls `stated`.

        The longest common end of the paths decides; None where no picture has the name.

        Raises:
            DataError: several fit equally well.
        """
        wanted = composed(stated.replace("\\", "/")).split("/")
        try:
            here = composed(beside.relative_to(self.root).as_posix()).split("/")
        except ValueError:
            here = []
        candidates = self._by_name.get(wanted[-1], [])
        if not candidates:
            return None

        def score(path: str) -> tuple[int, int]:
            parts = path.split("/")
            return _common(parts[::-1], wanted[::-1]), _common(parts, here)

        ranked = sorted(candidates, key=score, reverse=True)
        if len(ranked) > 1 and score(ranked[0]) == score(ranked[1]):
            raise DataError(f"'{stated}' could be {ranked[0]} and {ranked[1]}; give paths in the annotation")
        return self._by_path[ranked[0]]

    def of(self, stated: str, file: Path) -> Path | DataError:
        """As `find`, for the annotation `file`; an error where there is none."""
        try:
            return self.find(stated, file.parent) or DataError(f"image '{stated}' of {file} is nowhere in {self.root}")
        except DataError as error:
            return error

    def notes(self) -> list[str]:
        """What cannot be read."""
        return [
            f"{count} files of kind {suffix} cannot be read and were ignored; convert them to JPEG or PNG"
            for suffix, count in self.unread.items()
        ]


def names_of(images: Sequence[Path | str], root: Path) -> list[str]:
    """Settled unique names of images, in step."""
    keys = [_key(image, root) for image in images]
    return unique_names(keys)


def set_splits(found: Found, splits: Sequence[str]) -> None:
    """Enter the split that each item has (in step; empty for none) as image sets of the layout."""
    for split in SPLITS:
        members = [item.name for item, own in zip(found.items, splits, strict=True) if own == split]
        if members:
            found.sets[split] = members
            found.given[split] = split
    without = sum(not split for split in splits)
    if found.given and without:
        found.notes.append(f"{without} images are in no split and were not used")


def split_of(path: Path | str, root: Path) -> str:
    """The split that a folder on the way to a file names."""
    return split_in(_key(path, root) + "/x") if isinstance(path, str) else split_in(key_of(path, root))


def around(points: Iterable[Sequence[Any]]) -> Box:
    """The box around a polygon.

    Raises:
        DataError: no polygon.
    """
    try:
        xs, ys = zip(*((number(p[0]), number(p[1])) for p in points), strict=True)
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise DataError("a polygon is no list of points") from error
    if len(xs) < 2:
        raise DataError(f"a polygon of {len(xs)} points")
    return min(xs), min(ys), max(xs), max(ys)


def number(value: Any) -> float:
    """A number that may be a coordinate, and no truth value or text.

    Raises:
        DataError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -MOST <= value <= MOST:
        raise DataError(f"{str(value)[:40]!r} stands where a number belongs")
    return float(value)


def whole(value: Any) -> int:
    """A whole number of 0 or more, or 0 where there is none."""
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 10**8 else 0


def _key(image: Path | str, root: Path) -> str:
    if isinstance(image, Path):
        try:
            return key_of(image, root)
        except ValueError:
            return composed(image.with_suffix("").as_posix().lstrip("/"))
    return composed(str(Path(image.replace("\\", "/")).with_suffix("")).lstrip("/"))


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    count = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        count += 1
    return count
