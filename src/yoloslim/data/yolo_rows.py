"""What the rows of all label files of a YOLO data set say together: classes in use, outlines, key points."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from yoloslim.data.reading import notes_on_outlines
from yoloslim.data.voc import RawAnnotation, RawObject
from yoloslim.data.yolo_labels import read_rows
from yoloslim.errors import DataError

_ENOUGH = 3
"""Rows from which on what all have in common is no chance."""


@dataclass
class Rows:
    """Reads label files, and keeps what was seen in all of them.

    Attributes:
        key_points: numbers of a row behind its box.
        names: class number -> name.
        difficult: label file and row of the boxes that are.
        numbers: class numbers in use, with a file of each.
        points: how many rows are outlines of so many points.
        like_poses: outlines that would fit as boxes with key points behind.
        poses: rows that are that.
    """

    key_points: int
    names: Mapping[int, str]
    difficult: Collection[tuple[Path, int]]
    numbers: dict[int, Path] = field(default_factory=dict)
    points: Counter[int] = field(default_factory=Counter)
    like_poses: int = 0
    poses: int = 0

    def annotation(self, file: Path | None) -> RawAnnotation | DataError:
        """The boxes of a label file; none without one."""
        rows = read_rows(file, self.key_points)
        if isinstance(rows, DataError):
            return rows
        self.points.update(row.points for row in rows if row.points)
        self.like_poses += sum(row.seen for row in rows if row.points)
        self.poses += sum(row.seen for row in rows if not row.points)
        self.numbers |= {row.number: file for row in rows if file is not None}
        objects = (
            RawObject(self.names.get(row.number, f"class{row.number}"), row.box, (file, i) in self.difficult, False)
            for i, row in enumerate(rows)
        )
        return RawAnnotation(0, 0, objects, "shares")

    def classes(self, root: Path) -> tuple[str, ...]:
        """The classes, `class0` and so on where the set has no names.

        Raises:
            DataError: numbers without a name.
        """
        names = self.names
        if not names and self.numbers:
            if max(self.numbers) >= 10_000:
                raise DataError(f"{root}: class number {max(self.numbers)} without any names")
            names = {i: f"class{i}" for i in range(max(self.numbers) + 1)}
        if unknown := sorted(self.numbers - names.keys()):
            odd = unknown[-1]
            raise DataError(
                f"{root} names {len(names)} classes, but labels use number {odd} too, as {self.numbers[odd]} does; "
                f"complete `names` (numbers {', '.join(map(str, islice(names, 5)))}{' ...' if len(names) > 5 else ''} "
                "have one)"
            )
        return tuple(names.values())

    def notes(self, root: Path) -> list[str]:
        """What is to be said of names that lack, outlines and key points.

        Raises:
            DataError: all outlines would fit as boxes with key points behind.
        """
        told: list[str] = []
        if not self.names and self.numbers:
            called = f"class0 to class{max(self.numbers)}"
            told.append(f"no class names were found (data.yaml, classes.txt): they are called {called}")
        told += _notes_on_points(self.points, self.like_poses, root)
        if self.poses:
            told.append(f"{self.poses} rows have key points behind their box, which are not used")
        return told


def _notes_on_points(points: Counter[int], seen: int, root: Path) -> list[str]:
    """A note on rows that are no boxes, from how many there are of each number of points.

    Raises:
        DataError: all of them, `seen`, would fit as boxes with key points behind.
    """
    count, (most, same) = points.total(), next(iter(points.most_common(1)), (0, 0))
    if seen and seen == count and seen >= _ENOUGH:
        raise DataError(
            f"{root}: {seen} rows of {', '.join(str(2 * n + 1) for n in sorted(points))} columns look like boxes with "
            "key points behind, not like outlines: each would end with 0, 1 or 2; write `kpt_shape: "
            f"[{(2 * most - 4) // 3}, 3]` into data.yaml"
        )
    notes = notes_on_outlines(count, "rows are outlines of 3 or more points")
    if same == count >= _ENOUGH and most > 4:
        notes.append(
            f"all outlines have {most} points: if these are boxes with key points behind, write `kpt_shape: "
            f"[{most - 2}, 2]` into data.yaml"
        )
    return notes
