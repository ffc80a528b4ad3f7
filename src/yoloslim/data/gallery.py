"""One HTML page with pictures of random and of suspicious boxes, to see whether boxes lie where they should."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloslim.data.checks import in_pixels
from yoloslim.data.images import read_image
from yoloslim.data.layouts import Found, Item
from yoloslim.data.voc import SPLITS, Annotation, VocSplit, load_split
from yoloslim.errors import DataError
from yoloslim.files import write_text
from yoloslim.runner.labels import Painter

SIDE = 420
"""Longest side of a picture on the page, px."""

_HEAD = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Boxes</title>
<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1320px;padding:0 1rem;color:#1a1a1a}
section{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:1rem}
figure{margin:0}img{width:100%;height:auto;border-radius:4px}figcaption{font-size:.85rem;overflow-wrap:anywhere}</style>
"""


def write_gallery(prepared: Path, page: Path, title: str, count: int = 12) -> None:
    """Draw `count` random images and as many with suspicious boxes.

    Suspicious is a box that is very small, covers nearly all of the image, is very long, or lies on another of the
    same class; the worst come first.
    """
    splits = [load_split(prepared, split) for split in SPLITS]
    places = [(split, i) for split in splits for i in range(len(split))]
    order = np.random.default_rng(0).permutation(len(places))[:count]
    found: list[tuple[float, str, VocSplit, int]] = []
    for split, i in places:
        degree, why = suspicion(split.annotations[i])
        if degree > 0:
            found.append((degree, why, split, i))
    found.sort(key=lambda item: -item[0])
    parts = [_HEAD, f"<h1>{escape(title)}</h1><h2>Random images</h2><section>"]
    parts += [_figure(*places[int(k)], "") for k in order]
    parts.append(f"</section><h2>Suspicious boxes ({len(found)} images)</h2><section>")
    parts += [_figure(split, i, why) for _, why, split, i in found[:count]]
    write_text(page, "".join([*parts, "</section>" if found else "</section><p>None.</p>"]))


def write_refusal(found: Found | None, page: Path, title: str, reason: str, count: int = 12) -> None:
    """Draw images of a set that was refused, with their boxes as they were read, so that people see what is wrong.

    Args:
        found: what the reader found; None if nothing could be read.
        page: to write.
        title: of the page.
        reason: why it was refused.
        count: images to draw.
    """
    parts = [_HEAD, f"<h1>{escape(title)}</h1><p><b>Refused:</b> {escape(reason)}</p>"]
    items = [item for item in found.items if item.image] if found else []
    parts.append("<h2>Random images, boxes as they were read</h2><section>")
    for number in np.random.default_rng(0).permutation(len(items))[:count]:
        parts.append(_refused(items[int(number)]))
    write_text(page, "".join([*parts, "</section>" if items else "</section><p>None could be read.</p>"]))


def _refused(item: Item) -> str:
    assert item.image is not None
    name = escape(str(item.image.name))
    if isinstance(item.raw, DataError):
        return f"<figure><figcaption>{name}<br>{escape(str(item.raw))}</figcaption></figure>"
    try:
        image = read_image(item.image)
    except DataError as error:
        return f"<figure><figcaption>{name}<br>{escape(str(error))}</figcaption></figure>"
    size = image.shape[1], image.shape[0]
    classes = sorted({each.name for each in item.raw.objects})
    boxes = [(*in_pixels(each.box, item.raw.units, size), 1.0, classes.index(each.name)) for each in item.raw.objects]
    rows = np.clip(np.nan_to_num(np.array(boxes, np.float64).reshape(-1, 6)), -1e4, 1e4)
    written = "; ".join(f"{each.name} {', '.join(f'{v:g}' for v in each.box)}" for each in item.raw.objects[:3])
    return _drawn(image, rows, classes, name, f"{item.raw.units}: {escape(written)}")


def suspicion(note: Annotation) -> tuple[float, str]:
    """How suspicious the boxes of an image are, 0 for not at all, and why."""
    if not len(note):
        return 0.0, ""
    sides = note.boxes[:, 2:] - note.boxes[:, :2]
    share = sides.prod(1) / (note.width * note.height)
    long = sides.max(1) / sides.min(1)
    reasons = [
        (float((sides.min(1) < 4).sum()), "a side under 4 px"),
        (float((share > 0.95).sum()), "covers nearly the whole image"),
        (float((long > 10).sum()), "more than ten times as long as wide"),
        (float(_doubles(note)), "two boxes of one class in one place"),
    ]
    present = [(degree, why) for degree, why in reasons if degree]
    return sum(degree for degree, _ in present), "; ".join(why for _, why in present)


def _doubles(note: Annotation) -> int:
    keys = [
        (int(label), *np.round(box / 2).astype(int).tolist())
        for label, box in zip(note.labels, note.boxes, strict=True)
    ]
    return len(keys) - len(set(keys))


def _figure(split: VocSplit, index: int, why: str) -> str:
    image, note = read_image(split.image_path(index)), split.annotations[index]
    rows = np.concatenate([note.boxes, np.ones((len(note), 1)), note.labels[:, None]], axis=1)
    name = escape(f"{split.split}: {split.ids[index]}, {len(note)} boxes")
    return _drawn(image, rows, split.classes, name, escape(why))


def _drawn(image: NDArray[np.uint8], rows: NDArray[np.float64], classes: Sequence[str], name: str, below: str) -> str:
    """A figure of an image with boxes (n, 6) and text below, which is HTML."""
    scale = min(1.0, SIDE / max(image.shape[:2]))
    if scale < 1:
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        rows[:, :4] *= scale
    data = base64.b64encode(_jpeg(Painter(classes).draw(image, rows))).decode()
    reason = f"<br>{below}" if below else ""
    picture = f'<img alt="{name}" src="data:image/jpeg;base64,{data}">'
    return f"<figure>{picture}<figcaption>{name}{reason}</figcaption></figure>"


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
