"""What readers share: pictures by path and name, splits by folder, polygons as boxes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yoloslim.data.folders import is_image, key_of, unread_pictures, walk
from yoloslim.data.layouts import Found, split_in
from yoloslim.data.names import composed, unique_names
from yoloslim.data.packed import Paths
from yoloslim.data.voc import SPLITS
from yoloslim.errors import DataError

Box = tuple[float, float, float, float]
MOST = 1e9
"""Pixels from the corner of an image; what is farther away is no place, and infinite before long."""


def _folded_stem(name: str) -> str:
    return (name.rpartition(".")[0] or name).casefold()


_ALIKE: tuple[Callable[[str], str], ...] = (str, str.casefold, _folded_stem)
"""What two names have in common that mean one picture, the surest first."""


class Pictures:
    """The image files below a folder, found by path or, if that is told apart by it, by name.

    Where no file has the name, one whose name differs in case or in suffix alone is taken; `notes` tells how many.
    """

    def __init__(self, root: Path) -> None:
        """Look at all of it."""
        self.root = root
        self.unread = unread_pictures(walk(root))
        below = (path.relative_to(root).as_posix() for path in walk(root) if is_image(path))
        self._by_path = {composed(path): path for path in below}
        self._tables: list[dict[str, list[str]]] = []
        self._renamed: dict[str, str] = {}

    def find(self, stated: str, beside: Path) -> Path | None:
        """The picture that a file in the folder `beside` calls `stated`.

        The name as it is comes before one in other case, and that before one of another suffix. Of several the
        longest common end of the paths decides; None where no picture has the name.

        Raises:
            DataError: several fit equally well.
        """
        wanted = composed(stated.replace("\\", "/")).split("/")
        try:
            here = composed(beside.relative_to(self.root).as_posix()).split("/")
        except ValueError:
            here = []
        candidates = self._called(wanted[-1])
        if not candidates:
            return None

        def score(path: str) -> tuple[int, int]:
            parts = path.split("/")
            return _common(parts[-2::-1], wanted[-2::-1]), _common(parts, here)

        ranked = sorted(candidates, key=score, reverse=True)
        if len(ranked) > 1 and score(ranked[0]) == score(ranked[1]):
            raise DataError(f"'{stated}' could be {ranked[0]} and {ranked[1]}; give paths in the annotation")
        if (name := ranked[0].rpartition("/")[2]) != wanted[-1]:
            self._renamed.setdefault(ranked[0], f"{name!a} for {wanted[-1]!a}")
        return self.root / self._by_path[ranked[0]]

    def _called(self, name: str) -> list[str]:
        """Paths of the pictures of a name; the tables of other cases and suffixes are made when one is wanted."""
        for number, kind in enumerate(_ALIKE):
            if number == len(self._tables):
                table: dict[str, list[str]] = {}
                for path in self._by_path:
                    table.setdefault(kind(path.rpartition("/")[2]), []).append(path)
                self._tables.append(table)
            found = self._tables[number].get(kind(name))
            if found:
                return found
        return []

    def beside(self, file: Path) -> Path | None:
        """The only picture in the folder of `file` that has its name; None where there is none, or are several."""
        folder = composed(file.parent.relative_to(self.root).as_posix())
        paths = [path for path in self._called(composed(file.name)) if (path.rpartition("/")[0] or ".") == folder]
        return self.root / self._by_path[paths[0]] if len(paths) == 1 else None

    def unused(self, used: Iterable[Path | None]) -> list[str]:
        """Paths below the root of the pictures that are not among those in use."""
        known = set(map(str, used))
        return sorted(path for path in self._by_path.values() if str(self.root / path) not in known)

    def of(self, stated: str, file: Path) -> Path | DataError:
        """As `find`, for the annotation `file`; an error where there is none."""
        try:
            return self.find(stated, file.parent) or DataError(f"image '{stated}' of {file} is nowhere in {self.root}")
        except DataError as error:
            return error

    def notes(self) -> list[str]:
        """What cannot be read, and which pictures are called otherwise than annotations say."""
        found = notes_on_unread(self.unread)
        if self._renamed:
            first = next(iter(self._renamed.values()))
            found.append(f"{len(self._renamed)} images have names of other case or suffix than is stated: {first}")
        return found


def notes_on_unread(kinds: Mapping[str, int]) -> list[str]:
    """Notes on pictures that are not read, from how many there are of each suffix."""
    return [
        f"{count} files of kind {suffix} cannot be read and were ignored; convert them to JPEG or PNG"
        for suffix, count in kinds.items()
    ]


def names_of(images: Iterable[Path | str] | Paths, root: Path) -> list[str]:
    """Settled unique names of images, in step."""
    keys = [_key(image, root) for image in images]
    return unique_names(keys, images)


def refuse_twice(images: Iterable[tuple[Path | DataError | None, Path]]) -> None:
    """Refuse an image that two annotations are about, given as pairs of image and the file that lists it.

    Raises:
        DataError: names the image and both files.
    """
    seen: dict[str, str] = {}
    for image, path in images:
        if not isinstance(image, Path):
            continue
        file, before = str(path), len(seen)
        first = seen.setdefault(str(image), file)
        if len(seen) == before:
            where = f"twice in {file}" if first == file else f"in {first} and in {file}"
            raise DataError(f"image {image} is listed {where}; keep one, or point data.path at one of the files")


def set_splits(found: Found, splits: Sequence[str]) -> None:
    """Enter the split that each item has (in step; empty for none) as image sets of the layout."""
    for split in SPLITS:
        members = [name for name, own in zip(found.names(), splits, strict=True) if own == split]
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


def notes_on_outlines(count: int, what: str) -> list[str]:
    """A note on so many shapes that are no upright boxes."""
    return [f"{count} {what}: each became the upright box around it"] if count else []


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
