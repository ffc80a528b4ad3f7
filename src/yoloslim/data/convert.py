"""From what a layout's reader found to a prepared folder: look at everything first, then write what is sound."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from tqdm import tqdm

from yoloslim.data.checks import ImageFacts, clean_boxes, inspect_image
from yoloslim.data.exif import swaps_sides, turned, without_orientation
from yoloslim.data.images import decode_image, read_image_bytes, to_8_bits
from yoloslim.data.layouts import Found, Item
from yoloslim.data.names import note_on_renamed
from yoloslim.data.packed import PackedAnnotation
from yoloslim.data.split import seeded_split
from yoloslim.data.systematic import notes_on_resized, refuse_other_conventions, turns, whites
from yoloslim.data.usable import INSPECTED, SplitOf, Usable
from yoloslim.data.validation import (
    Findings,
    build_report,
    check_box_share,
    check_not_empty,
    check_problem_share,
    note_on_doubles,
    notes_on_classes,
)
from yoloslim.data.voc import SPLITS, RawAnnotation, write_annotation
from yoloslim.data.workers import worker_count
from yoloslim.errors import DataError
from yoloslim.files import share_blocks
from yoloslim.runner import damage
from yoloslim.runner.headers import is_jpeg

logger = logging.getLogger(__name__)

JPEG_QUALITY = 95
AT_ONCE = 512
"""Images that wait for a thread; each that waits takes a kilobyte."""
TOLD = 5
"""Images left out that are told one by one; the report lists them all."""

_ALIKE = (
    ("val", "test", "choosing by val is choosing by test"),
    ("train", "val", "what val measures was learnt by heart"),
    ("train", "test", "what test measures was learnt by heart"),
)
"""Splits that may hold the same images, and what that means."""
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Source:
    """How to read a data set.

    Attributes:
        name: what the report calls it.
        owned: whether files may be moved out of it; otherwise they are copied.
        sets: image set by split; an empty name has the split as the layout gives it, or cut off by its share.
        shares: share of images, in [0, 1), by split without image set.
        seed: of the split by shares.
        classes: the known classes; empty takes those of the layout, or collects them from the data, sorted.
        min_box_px: shortest box side in pixels.
        workers: threads; 0 takes one a core.
    """

    name: str
    owned: bool
    sets: Mapping[str, str]
    shares: Mapping[str, float]
    seed: int
    classes: tuple[str, ...]
    min_box_px: float
    workers: int


def convert(source: Source, found: Found, folder: Path) -> dict[str, Any]:
    """Write the sound part of a data set as a prepared folder.

    Returns:
        The validation report.

    Raises:
        DataError: too many unusable images or boxes, boxes written by another convention, an empty split, no class, or
            no box to train on.
    """
    findings = Findings(images_without_xml=found.unlabelled)
    usable = Usable(found)
    left_out: dict[int, dict[str, Any]] = {}
    named, renamed = _look_at_annotations(usable, left_out)
    classes = source.classes or found.classes or tuple(sorted(named))
    notes = _inspect(source, usable, left_out)
    boxes = _clean(source, usable, classes, findings, left_out)
    findings.left_out = [left_out[number] for number in sorted(left_out)]
    check_problem_share(findings.left_out, len(found.items))
    _tell_left_out(findings.left_out)
    if not all(classes) or not classes:
        what = "a class without a name" if classes else "no object in any annotation"
        raise DataError(f"{found.root} has {what}; a detector needs at least one class, and every class a name")
    lost = sum(item.get("boxes", 0) for item in findings.left_out)
    check_box_share(findings.dropped, lost, lost + len(findings.dropped) + boxes, source.min_box_px)
    splits, origins, split_notes = _deal(source, usable)
    check_not_empty(splits, origins)
    used = list(dict.fromkeys(number for members in splits.values() for number in members))
    findings.converted_to_jpeg = _write(usable, used, folder, classes, source)
    write_lists(folder, classes, {split: [usable.names[n] for n in members] for split, members in splits.items()})
    reported = {split: SplitOf(usable, members) for split, members in splits.items()}
    report = build_report(source.name, classes, reported, findings, [*split_notes, *found.notes, *notes])
    if source.name not in ("voc", "voc2007"):
        report["layout"] = found.layout
    report["notes"] += note_on_renamed(renamed) + notes_on_classes(classes, report["boxes"]) + note_on_doubles(reported)
    return report


def write_lists(folder: Path, classes: Sequence[str], splits: Mapping[str, Sequence[str]]) -> None:
    """Write `classes.txt` and the image sets of a prepared folder."""
    sets = folder / "ImageSets" / "Main"
    sets.mkdir(parents=True, exist_ok=True)
    for split, names in splits.items():
        (sets / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")


def _look_at_annotations(usable: Usable, left_out: dict[int, dict[str, Any]]) -> tuple[set[str], set[str]]:
    """Look at the boxes as written; returns the names of their classes, and those that were settled to others.

    Raises:
        DataError: the boxes of the set are written by another convention.
    """
    named: set[str] = set()
    renamed: set[str] = set()

    def readable() -> Iterator[RawAnnotation]:
        for number, item in enumerate(usable.found.items):
            if isinstance(item.raw, DataError):
                left_out[number] = _left_out(item, item.raw, usable.found.root, item.lost)
                continue
            fact = usable.facts[number]
            fact["usable"], fact["file"], fact["stated"] = True, hash(item.file), (item.raw.width, item.raw.height)
            named.update(item.raw.names)
            renamed.update(filter(None, item.raw.written))
            yield item.raw

    refuse_other_conventions(readable())
    return named, renamed


def _inspect(source: Source, usable: Usable, left_out: dict[int, dict[str, Any]]) -> list[str]:
    """Decode every image, and decide what only the whole set can tell; returns notes."""
    facts, items = usable.facts, usable.found.items
    numbers = np.flatnonzero(facts["usable"])
    with damage.listening() as damaged:
        results = _in_threads(lambda number: _look(items[number]), numbers.tolist(), source.workers, "checking")
        for number, result in zip(numbers.tolist(), results, strict=True):
            if isinstance(result, DataError):
                item = items[number]
                assert isinstance(item.raw, RawAnnotation)
                left_out[number] = _left_out(item, result, usable.found.root, len(item.raw))
                facts[number]["usable"] = False
            else:
                for name in INSPECTED:
                    facts[number][name] = getattr(result, name)
    sound = facts["usable"]
    usable.turn[sound], notes = turns(facts[sound])
    usable.white, white_notes = whites(facts["white"][sound])
    more = np.flatnonzero(sound & facts["more"])
    if len(more):
        first = usable.names[more[0]]
        white_notes.append(f"{len(more)} images hold several pictures, of which the first is used: {first}")
    return notes + notes_on_resized(facts[sound]) + white_notes + damage.sentence(damaged)


def _clean(
    source: Source,
    usable: Usable,
    classes: Sequence[str],
    findings: Findings,
    left_out: dict[int, dict[str, Any]],
) -> int:
    """Clean the boxes of every image that could be decoded; returns how many are sound."""
    facts, boxes = usable.facts, 0
    files, counts = np.unique(facts["file"], return_counts=True)
    shared = np.isin(facts["file"], files[counts > 1])
    for number, item in enumerate(usable.found.items):
        if not facts[number]["usable"]:
            usable.annotations.append(None)
            continue
        raw = item.raw
        assert isinstance(raw, RawAnnotation)
        size = tuple(facts[number]["size"].tolist())[:: -1 if swaps_sides(usable.turn[number]) else 1]
        try:
            cleaned = clean_boxes(raw, size, classes, source.min_box_px, item.file, item.name if shared[number] else "")
        except DataError as error:
            left_out[number] = _left_out(item, error, usable.found.root, len(raw))
            facts[number]["usable"] = False
            usable.annotations.append(None)
            continue
        usable.annotations.append(PackedAnnotation(cleaned.annotation).plain())
        boxes += len(cleaned.annotation)
        findings.dropped += cleaned.dropped
        findings.clipped += cleaned.clipped
        findings.swapped += cleaned.swapped
        stated = (raw.width, raw.height)
        if stated != size and (raw.units == "voc" or any(stated)):
            findings.size_mismatches.append({"name": item.name, "xml": list(stated), "image": list(size)})
    return boxes


def _look(item: Item) -> ImageFacts | DataError:
    try:
        if item.image is None:
            raise DataError(f"image of '{item.name}' is missing")
        return inspect_image(item.image)
    except DataError as error:
        return error


def _deal(source: Source, usable: Usable) -> tuple[dict[str, list[int]], dict[str, str], list[str]]:
    """Fill the splits with numbers of images, and say where each came from."""
    sets, numbers = usable.found.sets, usable.numbers()
    chosen = {split: name for split, name in source.sets.items() if name}
    unknown = sorted(set(chosen.values()) - set(sets))
    if unknown:
        raise DataError(f"there is no image set '{unknown[0]}'; there are: {', '.join(sorted(sets)) or 'none'}")
    splits = {split: [numbers[name] for name in sets[chosen[split]] if name in numbers] for split in chosen}
    origins = {split: f"image set '{chosen[split]}'" for split in chosen}
    cut = [split for split in SPLITS if split not in chosen]
    if cut:
        taken = {number for split, members in splits.items() if split != "train" for number in members}
        pool = [number for number in splits.get("train", numbers.values()) if number not in taken]
        shares = {split: source.shares[split] for split in cut if split != "train"}
        keys = {usable.names[number]: usable.facts[number]["pixels_key"] for number in pool}
        dealt = seeded_split(keys, shares, source.seed)
        splits |= {split: [numbers[name] for name in names] for split, names in dealt.items()}
        origins |= {split: f"{split}_share={share:g}" for split, share in shares.items()}
        origins.setdefault("train", "what the shares leave")
    notes = [f"{split}: {origins[split]}" for split in SPLITS]
    for first, second, means in _ALIKE:
        if set(splits[first]) == set(splits[second]):
            notes.append(f"{first} and {second} are the same image set: {means}")
    return {split: splits[split] for split in SPLITS}, origins, notes


def _write(usable: Usable, numbers: Sequence[int], folder: Path, classes: Sequence[str], source: Source) -> int:
    """Write images and annotations; returns how many images had to be converted to JPEG."""
    for name in ("JPEGImages", "Annotations"):
        (folder / name).mkdir()

    def write(number: int) -> bool:
        name = usable.names[number]
        write_annotation(folder / "Annotations" / f"{name}.xml", f"{name}.jpg", usable.annotation(number), classes)
        return _place(usable, number, folder / "JPEGImages" / f"{name}.jpg", owned=source.owned)

    return sum(_in_threads(write, numbers, source.workers, "writing"))


def _place(usable: Usable, number: int, target: Path, *, owned: bool) -> bool:
    """Write an upright 8-bit JPEG without orientation; bytes are kept where they are that already."""
    source, turn = usable.found.items[number].image, int(usable.turn[number])
    assert source is not None  # it was decoded
    data = read_image_bytes(source)
    if not is_jpeg(data) or turn != 1:
        pixels = to_8_bits(turned(decode_image(data, source), turn), usable.white)
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        target.write_bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
    elif owned and usable.facts[number]["orientation"] == 1:
        source.replace(target)
    else:
        # Never a hard link: DVC makes what it caches read-only, and a user's own photograph must stay as it is.
        kept = without_orientation(data)
        if kept is not data or not share_blocks(source, target):
            target.write_bytes(kept)
    return not is_jpeg(data)


def _left_out(item: Item, error: DataError, root: Path, boxes: int) -> dict[str, Any]:
    reason = str(error).replace(f"{root}{os.sep}", "")  # the same report wherever the source lies
    return {"name": item.name, "reason": reason} | ({"boxes": boxes} if boxes else {})


def _tell_left_out(left_out: Sequence[Mapping[str, Any]]) -> None:
    for item in left_out[:TOLD]:
        logger.warning("left out %s: %s", item["name"], item["reason"])
    if len(left_out) > TOLD:
        logger.warning("left out %d more images", len(left_out) - TOLD)


def _in_threads(work: Callable[[A], B], items: Sequence[A], workers: int, label: str) -> Iterator[B]:
    with ThreadPoolExecutor(worker_count(workers)) as pool:
        parts = (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))
        results = chain.from_iterable(pool.map(work, part) for part in parts)
        yield from tqdm(results, total=len(items), desc=label, disable=None)
