"""The validation report: what a prepared folder holds, and what of the source did not get into it."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from yoloslim.data.checks import UNDER_MIN, BoxNote
from yoloslim.data.names import near_equal
from yoloslim.data.voc import Annotation
from yoloslim.errors import DataError

MAX_PROBLEM_SHARE = 0.2
"""Share of unusable images above which a data set is refused: so many are a wrong path, not bad luck."""


@dataclass(frozen=True, slots=True)
class ReportedImage:
    """One usable image, as the report counts it; `annotation` gives its boxes when it is called."""

    name: str
    annotation: Callable[[], Annotation]
    bytes_key: bytes
    pixels_key: bytes


class Reported(Protocol):
    """The images of a split, which may be made anew whenever they are looked through."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[ReportedImage]: ...


@dataclass
class Findings:
    """What was found wrong on the way, in a stable order."""

    left_out: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[BoxNote] = field(default_factory=list)
    clipped: list[BoxNote] = field(default_factory=list)
    swapped: list[BoxNote] = field(default_factory=list)
    size_mismatches: list[dict[str, object]] = field(default_factory=list)
    images_without_xml: list[str] = field(default_factory=list)
    converted_to_jpeg: int = 0


def build_report(
    source: str,
    classes: Sequence[str],
    splits: Mapping[str, Reported],
    findings: Findings,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Count images and boxes by split and class, and list every oddity; the result is plain JSON."""
    counts = {split: _count(images, classes) for split, images in splits.items()}
    report = {
        "source": source,
        "classes": list(classes),
        "notes": list(notes),
        "images": {split: len(images) for split, images in splits.items()},
        **{key: {split: found[key] for split, found in counts.items()} for key in counts["train"]},
        "dropped_boxes": [note.as_dict() for note in findings.dropped],
        "clipped_boxes": [note.as_dict() for note in findings.clipped],
        "left_out": findings.left_out,
        "images_without_xml": findings.images_without_xml,
        "size_mismatches": findings.size_mismatches,
        "converted_to_jpeg": findings.converted_to_jpeg,
        "duplicates": find_duplicates(splits),
    }
    return report | ({"swapped_boxes": [note.as_dict() for note in findings.swapped]} if findings.swapped else {})


def find_duplicates(splits: Mapping[str, Reported]) -> list[dict[str, object]]:
    """Images that stand in more than one split: by name, by bytes, or by decoded pixels alone.

    Two splits made of the same names throughout (VOC's habit of test as val) are not listed; `prepare` notes them.
    """
    names = {split: np.unique(_hashes(images, "name")) for split, images in splits.items()}
    alike = {a for a in splits for b in splits if b < a and np.array_equal(names[a], names[b])}
    distinct = {split: images for split, images in splits.items() if split not in alike}
    found = _across(distinct, "name", set())
    same_bytes = _across(distinct, "bytes_key", set())
    known = {str(item["names"]) for item in same_bytes}
    return found + same_bytes + _across(distinct, "pixels_key", known)


def check_box_share(dropped: Sequence[BoxNote], lost: int, total: int, min_box_px: float) -> None:
    """Refuse a data set too many of whose boxes cannot be used.

    Boxes under a `min_box_px` that somebody raised above a pixel are dropped on purpose and do not count.

    Args:
        dropped: one by one.
        lost: with images that were left out.
        total: boxes in all.
        min_box_px: see `DataParams`.

    Raises:
        DataError: more than a fifth; the message counts the reasons.
    """
    counted = [note for note in dropped if not (min_box_px > 1 and UNDER_MIN in note.reason)]
    if len(counted) + lost <= MAX_PROBLEM_SHARE * total:
        return
    reasons = Counter(re.sub(r" [\d.e-]+ px", "", note.reason) for note in counted)
    listed = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(4))
    listed += f"{', ' if listed and lost else ''}{f'{lost} in images that were left out' if lost else ''}"
    example = f"; first: {counted[0].file} {list(counted[0].box)}" if counted else ""
    raise DataError(
        f"{len(counted) + lost} of {total} boxes cannot be used, more than {MAX_PROBLEM_SHARE:.0%}: {listed}{example}. "
        "Repair them, or check how the boxes are written"
    )


def notes_on_classes(classes: Sequence[str], boxes: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What is odd about classes: names that are nearly equal, and classes that nothing is trained on.

    Raises:
        DataError: no box at all to train on.
    """
    if not sum(boxes["train"].values()):
        raise DataError("split 'train' has no box at all, so nothing can be learnt; check the annotations and splits")
    notes = [f"nearly equal class names, are they one? {', '.join(map(repr, group))}" for group in near_equal(classes)]
    notes += [
        f"split '{split}' has no box at all: {means}"
        for split, means in (("val", "no epoch is better than another"), ("test", "no metric can be measured"))
        if not sum(boxes[split].values())
    ]
    empty = [name for name in classes if not boxes["train"][name]]
    if empty:
        shown = ", ".join(map(repr, empty[:8])) + (" ..." if len(empty) > 8 else "")
        asked = sum(bool(boxes["val"][name] or boxes["test"][name]) for name in empty)
        means = f"; {asked} of them have boxes in val or test, and count as 0 in the means there" if asked else ""
        notes.append(f"{len(empty)} of {len(classes)} classes have no training box and cannot be found: {shown}{means}")
    return notes


def note_on_doubles(splits: Mapping[str, Reported]) -> list[str]:
    """A note on boxes that stand in an image more than once: same class, same corners."""
    found: dict[str, int] = {}
    for image in (image for images in splits.values() for image in images):
        note = image.annotation()
        rows = {(int(label), box.tobytes()) for label, box in zip(note.labels, note.boxes, strict=True)}
        if len(rows) < len(note):
            found[image.name] = len(note) - len(rows)
    if not found:
        return []
    images = f"{len(found)} images, the first {next(iter(found))}"
    return [f"{sum(found.values())} boxes stand twice, of one class and with the same corners: {images}"]


def check_problem_share(left_out: Sequence[Mapping[str, Any]], total: int) -> None:
    """Refuse a data set of which too much cannot be used.

    Raises:
        DataError: more than a fifth of `total` images was left out; the message quotes the first reasons.
    """
    if total == 0 or len(left_out) <= MAX_PROBLEM_SHARE * total:
        return
    first = "; ".join(item["reason"] for item in left_out[:3])
    raise DataError(
        f"{len(left_out)} of {total} images cannot be used, more than {MAX_PROBLEM_SHARE:.0%}: {first}"
        f"{'; ...' if len(left_out) > 3 else ''}. Repair them, or check data.path and the image sets"
    )


def check_not_empty(splits: Mapping[str, Sequence[object]], origins: Mapping[str, str]) -> None:
    """Refuse an empty split.

    Raises:
        DataError: names the split, where it came from (`origins`) and the parameter that fills it.
    """
    for split, images in splits.items():
        if not images:
            raise DataError(
                f"split '{split}' ({origins[split]}) has no usable image; name an image set that has some in "
                f"data.{split}_set, or raise what its split is made of"
            )


def _count(images: Reported, classes: Sequence[str]) -> dict[str, Any]:
    labels: Counter[int] = Counter()
    empty = difficult = truncated = 0
    for image in images:
        note = image.annotation()
        labels.update(note.labels.tolist())
        empty += len(note) == 0
        difficult += int(note.difficult.sum())
        truncated += int(note.truncated.sum())
    return {
        "images_without_objects": empty,
        "boxes": {name: labels[index] for index, name in enumerate(classes)},
        "boxes_total": labels.total(),
        "boxes_difficult": difficult,
        "boxes_truncated": truncated,
    }


def _across(splits: Mapping[str, Reported], key: str, known: set[str]) -> list[dict[str, object]]:
    same = {"name": "name", "bytes_key": "bytes", "pixels_key": "pixels"}[key]
    hashes = {split: _hashes(images, key) for split, images in splits.items()}
    values, counts = np.unique(np.concatenate(list(hashes.values())), return_counts=True)
    names_of: dict[str | bytes, dict[str, set[str]]] = {}
    for split, images in splits.items():
        several = np.isin(hashes[split], values[counts > 1])
        for image in compress(images, several) if several.any() else ():
            names_of.setdefault(getattr(image, key), {}).setdefault(split, set()).add(image.name)
    found: list[dict[str, object]] = []
    for by_split in names_of.values():
        names = sorted(set().union(*by_split.values()))
        is_pair_of_files = key == "name" or len(names) > 1
        if len(by_split) > 1 and is_pair_of_files and str(names) not in known:
            found.append({"same": same, "names": names, "splits": sorted(by_split)})
    return sorted(found, key=lambda item: str(item["names"]))


def _hashes(images: Reported, key: str) -> NDArray[np.int64]:
    """8 bytes an image: which keys are worth a closer look, since they may stand more than once."""
    return np.fromiter((hash(getattr(image, key)) for image in images), np.int64, len(images))
