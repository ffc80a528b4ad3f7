"""From what a layout's reader found to a prepared folder: look at everything first, then write what is sound."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import cv2
from tqdm import tqdm

from yoloslim.data import damage
from yoloslim.data.checks import ImageFacts, clean_boxes, inspect_image
from yoloslim.data.exif import swaps_sides, turned, without_orientation
from yoloslim.data.images import decode_image, is_jpeg, read_image_bytes, to_8_bits
from yoloslim.data.layouts import Found, Item
from yoloslim.data.names import note_on_renamed
from yoloslim.data.packed import PackedAnnotation
from yoloslim.data.split import seeded_split
from yoloslim.data.systematic import refuse_other_conventions, turns, whites
from yoloslim.data.validation import (
    Findings,
    ReportedImage,
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
_TAKEN = RawAnnotation(0, 0, ())
"""What an item holds once its annotation was taken out."""

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


@dataclass(frozen=True, slots=True)
class UsableImage:
    """A usable image of the source; `turn` is the orientation its pixels are to be turned by, `white` becomes 255."""

    item: Item
    facts: ImageFacts
    annotation: PackedAnnotation
    turn: int
    white: float

    @property
    def name(self) -> str:
        """Of the item."""
        return self.item.name

    @property
    def image(self) -> Path:
        """Of the item; it is there, since it was decoded."""
        assert self.item.image is not None
        return self.item.image

    def reported(self) -> ReportedImage:
        """The entry as the report counts it."""
        return ReportedImage(self.name, self.annotation, self.facts.bytes_key, self.facts.pixels_key)


def convert(source: Source, found: Found, folder: Path) -> dict[str, Any]:
    """Write the sound part of a data set as a prepared folder.

    Returns:
        The validation report.

    Raises:
        DataError: too many unusable images or boxes, boxes written by another convention, an empty split, no class, or
            no box to train on.
    """
    findings = Findings(images_without_xml=found.unlabelled)
    raws = _readable(found, findings)
    refuse_other_conventions(list(raws.values()))
    renamed = {item.written for raw in raws.values() for item in raw.objects if item.written}
    classes = source.classes or found.classes or tuple(sorted({o.name for raw in raws.values() for o in raw.objects}))
    entries, notes = _inspect(source, found, raws, classes, findings)
    order = {item.name: position for position, item in enumerate(found.items)}
    findings.left_out.sort(key=lambda item: order[item["name"]])
    check_problem_share(findings.left_out, len(found.items))
    _tell_left_out(findings.left_out)
    if not all(classes) or not classes:
        what = "a class without a name" if classes else "no object in any annotation"
        raise DataError(f"{found.root} has {what}; a detector needs at least one class, and every class a name")
    lost = sum(item.get("boxes", 0) for item in findings.left_out)
    total = lost + len(findings.dropped) + sum(len(entry.annotation) for entry in entries.values())
    check_box_share(findings.dropped, lost, total, source.min_box_px)
    splits, origins, split_notes = _deal(source, found, entries)
    check_not_empty(splits, origins)
    used = list({entry.name: entry for split in splits.values() for entry in split}.values())
    findings.converted_to_jpeg = _write(used, folder, classes, owned=source.owned, workers=source.workers)
    write_lists(folder, classes, {split: [entry.name for entry in items] for split, items in splits.items()})
    reported = {split: [entry.reported() for entry in items] for split, items in splits.items()}
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


def _readable(found: Found, findings: Findings) -> dict[str, RawAnnotation]:
    """Take the annotations out of the items, so that each can go when its boxes have been cleaned."""
    raws: dict[str, RawAnnotation] = {}
    for item in found.items:
        if isinstance(item.raw, DataError):
            findings.left_out.append(_left_out(item, item.raw, found.root, item.lost))
        else:
            raws[item.name] = item.raw
        item.raw = _TAKEN
    return raws


def _inspect(
    source: Source,
    found: Found,
    raws: dict[str, RawAnnotation],
    classes: Sequence[str],
    findings: Findings,
) -> tuple[dict[str, UsableImage], list[str]]:
    """Decode every image, decide what only the whole set can tell, and clean the boxes, which empties `raws`."""
    items = [item for item in found.items if item.name in raws]
    facts: dict[str, ImageFacts] = {}
    with damage.listening() as damaged:
        for item, result in zip(items, _in_threads(_look, items, source.workers, "checking"), strict=True):
            if isinstance(result, DataError):
                findings.left_out.append(_left_out(item, result, found.root, len(raws[item.name])))
            else:
                facts[item.name] = result
    turning, notes = turns(raws, facts)
    white, white_notes = whites(facts)
    entries: dict[str, UsableImage] = {}
    shared = {file for file, count in Counter(item.file for item in items).items() if count > 1}
    for item in items:
        if item.name not in facts:
            continue
        fact, raw, turn = facts[item.name], raws.pop(item.name), turning.get(item.name, 1)
        size = (fact.height, fact.width) if swaps_sides(turn) else (fact.width, fact.height)
        try:
            file = item.file
            cleaned = clean_boxes(raw, size, classes, source.min_box_px, file, item.name if file in shared else "")
        except DataError as error:
            findings.left_out.append(_left_out(item, error, found.root, len(raw)))
            continue
        entries[item.name] = UsableImage(item, fact, PackedAnnotation(cleaned.annotation), turn, white)
        findings.dropped += cleaned.dropped
        findings.clipped += cleaned.clipped
        findings.swapped += cleaned.swapped
        stated = (raw.width, raw.height)
        if stated != size and (raw.units == "voc" or any(stated)):
            findings.size_mismatches.append({"name": item.name, "xml": list(stated), "image": list(size)})
    return entries, notes + white_notes + _note_on_more(facts) + damage.sentence(damaged)


def _note_on_more(facts: Mapping[str, ImageFacts]) -> list[str]:
    names = [name for name, fact in facts.items() if fact.more]
    return [f"{len(names)} images hold several pictures, of which the first is used: {names[0]}"] if names else []


def _look(item: Item) -> ImageFacts | DataError:
    try:
        if item.image is None:
            raise DataError(f"image of '{item.name}' is missing")
        return inspect_image(item.image)
    except DataError as error:
        return error


def _deal(
    source: Source, found: Found, entries: Mapping[str, UsableImage]
) -> tuple[dict[str, list[UsableImage]], dict[str, str], list[str]]:
    """Fill the splits, and say where each came from."""
    chosen = {split: name for split, name in source.sets.items() if name}
    unknown = sorted(set(chosen.values()) - set(found.sets))
    if unknown:
        raise DataError(f"there is no image set '{unknown[0]}'; there are: {', '.join(sorted(found.sets)) or 'none'}")
    splits = {split: [name for name in found.sets[chosen[split]] if name in entries] for split in chosen}
    origins = {split: f"image set '{chosen[split]}'" for split in chosen}
    cut = [split for split in SPLITS if split not in chosen]
    if cut:
        taken = {name for split, names in splits.items() if split != "train" for name in names}
        pool = [name for name in splits.get("train", entries) if name not in taken]
        shares = {split: source.shares[split] for split in cut if split != "train"}
        splits |= seeded_split({name: entries[name].facts.pixels_key.hex() for name in pool}, shares, source.seed)
        origins |= {split: f"{split}_share={share:g}" for split, share in shares.items()}
        origins.setdefault("train", "what the shares leave")
    notes = [f"{split}: {origins[split]}" for split in SPLITS]
    for first, second, means in _ALIKE:
        if set(splits[first]) == set(splits[second]):
            notes.append(f"{first} and {second} are the same image set: {means}")
    return {split: [entries[name] for name in splits[split]] for split in SPLITS}, origins, notes


def _write(entries: Sequence[UsableImage], folder: Path, classes: Sequence[str], *, owned: bool, workers: int) -> int:
    """Write images and annotations; returns how many images had to be converted to JPEG."""
    for name in ("JPEGImages", "Annotations"):
        (folder / name).mkdir()

    def write(entry: UsableImage) -> bool:
        target = folder / "JPEGImages" / f"{entry.name}.jpg"
        path = folder / "Annotations" / f"{entry.name}.xml"
        write_annotation(path, target.name, entry.annotation.unpacked(), classes)
        return _place(entry, target, owned=owned)

    return sum(_in_threads(write, entries, workers, "writing"))


def _place(entry: UsableImage, target: Path, *, owned: bool) -> bool:
    """Write an upright 8-bit JPEG without orientation; bytes are kept where they are that already."""
    source = entry.image
    data = read_image_bytes(source)
    if not is_jpeg(data) or entry.turn != 1:
        pixels = to_8_bits(turned(decode_image(data, source), entry.turn), entry.white)
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        target.write_bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
    elif owned and entry.facts.orientation == 1:
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


def _in_threads(work: Callable[[A], B], items: Sequence[A], workers: int, label: str) -> Iterable[B]:
    with ThreadPoolExecutor(worker_count(workers)) as pool:
        parts = (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))
        results = chain.from_iterable(pool.map(work, part) for part in parts)
        yield from tqdm(results, total=len(items), desc=label, disable=None)
