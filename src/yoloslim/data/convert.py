"""From any folder in VOC layout to a prepared folder: look at everything first, then write what is sound."""

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
from tqdm import tqdm

from yoloslim.data.checks import Cleaned, ImageFacts, clean_boxes, inspect_image
from yoloslim.data.images import is_jpeg, read_image
from yoloslim.data.report import Findings, ReportedImage, build_report, check_not_empty, check_problem_share
from yoloslim.data.split import read_image_set, seeded_split
from yoloslim.data.voc import SPLITS, RawAnnotation, parse_annotation, write_annotation
from yoloslim.data.workers import worker_count
from yoloslim.errors import DataError

logger = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
JPEG_QUALITY = 95

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Source:
    """A folder in VOC layout and how to read it.

    Attributes:
        name: what the report calls it.
        root: folder with `Annotations` and `JPEGImages`.
        owned: whether files may be moved out of it; otherwise they are copied.
        sets: image set by split; an empty name has the split cut off by its share instead.
        shares: share of images, in [0, 1), by split without image set.
        seed: of the split by shares.
        classes: the known classes; empty collects them from the data, sorted.
        min_box_px: shortest box side in pixels.
        workers: threads; 0 takes one a core.
    """

    name: str
    root: Path
    owned: bool
    sets: Mapping[str, str]
    shares: Mapping[str, float]
    seed: int
    classes: tuple[str, ...]
    min_box_px: float
    workers: int


@dataclass(frozen=True)
class Entry:
    """A usable image of the source."""

    name: str
    image: Path
    facts: ImageFacts
    cleaned: Cleaned

    def reported(self) -> ReportedImage:
        """The entry as the report counts it."""
        return ReportedImage(self.name, self.cleaned.annotation, self.facts.bytes_key, self.facts.pixels_key)


def convert_voc(source: Source, folder: Path) -> dict[str, Any]:
    """Write the sound part of `source` as a prepared folder.

    Returns:
        The validation report.

    Raises:
        DataError: an image set that does not exist, too many unusable images, an empty split, or no class.
    """
    findings = Findings()
    named = {split: read_image_set(source.root, name) for split, name in source.sets.items() if name}
    names = _all_names(source.root, named, findings)
    images = _index_images(source.root)
    raw = _read_annotations(source, names, findings)
    classes = source.classes or tuple(sorted({item.name for one in raw.values() for item in one.objects}))
    entries = _inspect(source, raw, images, classes, findings)
    order = {name: position for position, name in enumerate(names)}
    findings.left_out.sort(key=lambda item: order[item["name"]])
    check_problem_share(findings.left_out, len(names))
    if not classes:
        raise DataError(f"{source.root} has no object in any annotation; a detector needs at least one class")
    splits, origins, notes = _deal(source, named, entries)
    check_not_empty(splits, origins)
    used = {entry.name: entry for split in splits.values() for entry in split}
    findings.converted_to_jpeg = _write(list(used.values()), folder, classes, owned=source.owned)
    write_lists(folder, classes, {split: [entry.name for entry in items] for split, items in splits.items()})
    reported = {split: [entry.reported() for entry in items] for split, items in splits.items()}
    return build_report(source.name, classes, reported, findings, notes)


def write_lists(folder: Path, classes: Sequence[str], splits: Mapping[str, Sequence[str]]) -> None:
    """Write `classes.txt` and the image sets of a prepared folder."""
    sets = folder / "ImageSets" / "Main"
    sets.mkdir(parents=True, exist_ok=True)
    for split, names in splits.items():
        (sets / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")


def _all_names(root: Path, named: Mapping[str, Sequence[str]], findings: Findings) -> list[str]:
    if len(named) == len(SPLITS) or "train" in named:
        return list(dict.fromkeys(name for split in SPLITS for name in named.get(split, ())))
    names = sorted(item.stem for item in (root / "Annotations").glob("*.xml"))
    if not names:
        raise DataError(f"{root / 'Annotations'} holds no *.xml; is data.path the right folder?")
    findings.images_without_xml = sorted(_index_images(root).keys() - set(names))
    return list(dict.fromkeys([*names, *(name for split in named.values() for name in split)]))


def _index_images(root: Path) -> dict[str, Path]:
    files = sorted((root / "JPEGImages").iterdir(), key=lambda item: (item.suffix.lower() not in SUFFIXES[:2], item))
    found: dict[str, Path] = {}
    for item in files:
        if item.suffix.lower() in SUFFIXES:
            found.setdefault(item.stem, item)
    return found


def _read_annotations(source: Source, names: Sequence[str], findings: Findings) -> dict[str, RawAnnotation]:
    annotations = source.root / "Annotations"
    found: dict[str, RawAnnotation] = {}
    for name in names:
        try:
            if Path(name).name != name:
                raise DataError(f"image set names '{name}', which is no plain file name")
            found[name] = parse_annotation(annotations / f"{name}.xml")
        except DataError as error:
            findings.left_out.append(_left_out(name, error, source.root))
    return found


def _inspect(
    source: Source,
    raw: Mapping[str, RawAnnotation],
    images: Mapping[str, Path],
    classes: Sequence[str],
    findings: Findings,
) -> dict[str, Entry]:
    def look(name: str) -> Entry | DataError:
        path = source.root / "Annotations" / f"{name}.xml"
        try:
            if name not in images:
                raise DataError(f"image of '{name}' is missing in {source.root / 'JPEGImages'}")
            facts = inspect_image(images[name])
            cleaned = clean_boxes(raw[name], (facts.width, facts.height), classes, source.min_box_px, path)
        except DataError as error:
            return error
        return Entry(name, images[name], facts, cleaned)

    entries: dict[str, Entry] = {}
    for name, result in zip(raw, _in_threads(look, list(raw), source.workers, "checking"), strict=True):
        if isinstance(result, DataError):
            findings.left_out.append(_left_out(name, result, source.root))
            continue
        entries[name] = result
        findings.dropped += result.cleaned.dropped
        findings.clipped += result.cleaned.clipped
        stated, real = (raw[name].width, raw[name].height), (result.facts.width, result.facts.height)
        if stated != real:
            findings.size_mismatches.append({"name": name, "xml": list(stated), "image": list(real)})
    return entries


def _deal(
    source: Source, named: Mapping[str, Sequence[str]], entries: Mapping[str, Entry]
) -> tuple[dict[str, list[Entry]], dict[str, str], list[str]]:
    """Fill the splits, and say where each came from."""
    splits = {split: [name for name in names if name in entries] for split, names in named.items()}
    origins = {split: f"image set '{source.sets[split]}'" for split in named}
    cut = [split for split in SPLITS if split not in named]
    if cut:
        taken = {name for split, names in splits.items() if split != "train" for name in names}
        pool = [name for name in splits.get("train", entries) if name not in taken]
        shares = {split: source.shares[split] for split in cut if split != "train"}
        splits |= seeded_split({name: entries[name].facts.pixels_key for name in pool}, shares, source.seed)
        origins |= {split: f"{split}_share={share:g}" for split, share in shares.items()}
        origins.setdefault("train", "what the shares leave")
    notes = [f"{split}: {origins[split]}" for split in SPLITS]
    if source.sets["val"] and source.sets["val"] == source.sets["test"]:
        notes.append("val and test are the same image set: choosing by val is choosing by test")
    return {split: [entries[name] for name in splits[split]] for split in SPLITS}, origins, notes


def _write(entries: Sequence[Entry], folder: Path, classes: Sequence[str], *, owned: bool) -> int:
    """Write images and annotations; returns how many images had to be converted to JPEG."""
    for name in ("JPEGImages", "Annotations"):
        (folder / name).mkdir()
    converted = 0
    for entry in entries:
        target = folder / "JPEGImages" / f"{entry.name}.jpg"
        converted += _place(entry.image, target, owned=owned)
        path = folder / "Annotations" / f"{entry.name}.xml"
        write_annotation(path, target.name, entry.cleaned.annotation, classes)
    return converted


def _place(image: Path, target: Path, *, owned: bool) -> bool:
    with image.open("rb") as stream:
        keeps_bytes = is_jpeg(stream.read(3))
    if not keeps_bytes:
        pixels = cv2.cvtColor(read_image(image), cv2.COLOR_RGB2BGR)
        target.write_bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
    elif owned:
        image.replace(target)
    else:
        # Never a hard link: DVC makes what it caches read-only, and a user's own photograph must stay as it is.
        shutil.copyfile(image, target)
    return not keeps_bytes


def _left_out(name: str, error: DataError, root: Path) -> dict[str, str]:
    reason = str(error).replace(f"{root}{os.sep}", "")  # the same report wherever the source lies
    logger.warning("left out %s: %s", name, reason)
    return {"name": name, "reason": reason}


def _in_threads(work: Callable[[A], B], items: Sequence[A], workers: int, label: str) -> Iterable[B]:
    with ThreadPoolExecutor(worker_count(workers)) as pool:
        yield from tqdm(pool.map(work, items), total=len(items), desc=label, disable=None)
