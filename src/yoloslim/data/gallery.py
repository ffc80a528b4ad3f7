"""One HTML page with pictures of random and of suspicious boxes, to see whether boxes lie where they should."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloslim.data.checks import in_pixels
from yoloslim.data.images import read_image
from yoloslim.data.layouts import Found, Item
from yoloslim.data.summary import problems
from yoloslim.data.voc import SPLITS, Annotation, VocSplit, load_split
from yoloslim.errors import DataError
from yoloslim.files import write_text
from yoloslim.runner.labels import Painter

SIDE = 480
"""Longest side of a picture on the page, px."""
CLOSE = 96
"""Least side of the part of an image that is shown around suspicious boxes, px."""

_HEAD = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Boxes</title>
<style>:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1320px;padding:0 1rem}
h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.15rem;margin-top:2rem}
section{columns:300px;column-gap:1rem}figure{margin:0 0 1rem;break-inside:avoid}
img{width:100%;height:auto;border-radius:4px;display:block}figcaption{font-size:.85rem;overflow-wrap:anywhere}
div{overflow-x:auto}table{border-collapse:collapse}
td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}tbody tr{border-top:1px solid #8884}</style>
"""


def write_gallery(prepared: Path, page: Path, title: str, report: Mapping[str, Any], count: int = 12) -> None:
    """Write what a data set holds, what was not as it should be, and draw `count` random images and suspicious boxes.

    Suspicious is a box that is very small, covers nearly all of the image, is very long, or lies on another of the
    same class; the images with most of them come first, and only these boxes have names and colours there.

    Args:
        prepared: the prepared folder.
        page: to write.
        title: of the page.
        report: of the prepared folder.
        count: images of each kind.
    """
    splits = [load_split(prepared, split) for split in SPLITS]
    places = [(split, i) for split in splits for i in range(len(split))]
    order = np.random.default_rng(0).permutation(len(places))[:count]
    found: list[tuple[int, VocSplit, int]] = []
    for split, i in places:
        degree = sum(int(mask.sum()) for _, mask in suspicions(split.annotations[i]))
        if degree:
            found.append((degree, split, i))
    found.sort(key=lambda item: -item[0])
    parts = [_HEAD, f"<h1>{escape(title)}</h1>", *_summary(report), "<h2>Random images</h2><section>"]
    parts += [_figure(*places[int(k)]) for k in order]
    parts.append(f"</section><h2>Suspicious boxes ({len(found)} images)</h2>")
    parts += ["<section>", *(_suspected(split, i) for _, split, i in found[:count]), "</section>"] if found else []
    write_text(page, "".join([*parts, "" if found else "<p>None.</p>"]))


def _summary(report: Mapping[str, Any]) -> list[str]:
    """Counts by class and split, problems, notes."""
    layout = f"layout {escape(report['layout'])}, " if "layout" in report else ""
    parts = [f"<p>{layout}{len(report['classes'])} classes, {sum(report['images'].values())} images</p>"]
    rows = [["images", *(report["images"][s] for s in SPLITS)]]
    rows.append(["images without objects", *(report["images_without_objects"][s] for s in SPLITS)])
    rows.append(["boxes", *(report["boxes_total"][s] for s in SPLITS)])
    rows += [[name, *(report["boxes"][s][name] for s in SPLITS)] for name in report["classes"]]
    parts.append(_table(["", *SPLITS], rows))
    if found := problems(report):
        lines = [[what, images, boxes, "\n".join(examples)] for what, images, boxes, examples in found]
        parts += ["<h2>Not as it was</h2>", _table(["", "images", "boxes", "such as"], lines)]
    if report["notes"]:
        parts += ["<h2>Notes</h2><ul>", *(f"<li>{escape(note)}" for note in report["notes"]), "</ul>"]
    return parts


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """An HTML table whose columns between the first and the text ones are of numbers."""
    number = [name in (*SPLITS, "images", "boxes") for name in head]

    def line(tag: str, cells: Sequence[object]) -> str:
        marks = [f'<{tag} class="n">' if is_number else f"<{tag}>" for is_number in number]
        texts = [escape(str(cell)).replace("\n", "<br>") for cell in cells]
        return "<tr>" + "".join(f"{mark}{text}" for mark, text in zip(marks, texts, strict=True))

    return f"<div><table><thead>{line('th', head)}<tbody>{''.join(line('td', row) for row in rows)}</table></div>"


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
    items = found.items if found else []
    pictured = [number for number, item in enumerate(items) if item.image]
    parts.append("<h2>Random images, boxes as they were read</h2><section>")
    for number in np.random.default_rng(0).permutation(len(pictured))[:count]:
        parts.append(_refused(items[pictured[number]]))
    write_text(page, "".join([*parts, "</section>" if pictured else "</section><p>None could be read.</p>"]))


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
    boxes = [
        (*in_pixels(each.box, item.raw.units, size), np.nan, classes.index(each.name)) for each in item.raw.objects
    ]
    rows = np.array(boxes, np.float64).reshape(-1, 6)
    rows[:, :4] = np.clip(np.nan_to_num(rows[:, :4]), -1e4, 1e4)
    written = "; ".join(f"{each.name} {', '.join(f'{v:g}' for v in each.box)}" for each in item.raw.objects[:3])
    return _drawn(image, rows, classes, name, f"{item.raw.units}: {escape(written)}")


def suspicions(note: Annotation) -> list[tuple[str, NDArray[np.bool_]]]:
    """Why boxes of an image are suspicious, and which (n,); reasons that no box has are left out."""
    if not len(note):
        return []
    sides = note.boxes[:, 2:] - note.boxes[:, :2]
    share = sides.prod(1) / (note.width * note.height)
    long = sides.max(1) / sides.min(1)
    reasons = [
        ("a side under 4 px", sides.min(1) < 4),
        ("covers nearly the whole image", share > 0.95),
        ("more than ten times as long as wide", long > 10),
        ("two boxes of one class in one place", _doubles(note)),
    ]
    return [(why, mask) for why, mask in reasons if mask.any()]


def _doubles(note: Annotation) -> NDArray[np.bool_]:
    keys = [
        (int(label), *np.round(box / 2).astype(int).tolist())
        for label, box in zip(note.labels, note.boxes, strict=True)
    ]
    counts = Counter(keys)
    return np.array([counts[key] > 1 for key in keys])


def _figure(split: VocSplit, index: int) -> str:
    image, note = read_image(split.image_path(index)), split.annotations[index]
    return _drawn(image, _rows(note), split.classes, _name(split, index), "")


def _suspected(split: VocSplit, index: int) -> str:
    """The suspicious boxes of an image with their names, the others grey; a part of the image where they are small."""
    image, note = read_image(split.image_path(index)), split.annotations[index]
    reasons = suspicions(note)
    mask = np.logical_or.reduce([own for _, own in reasons])
    image = image.copy()
    for x0, y0, x1, y1 in note.boxes[~mask].round().astype(int).tolist():
        cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), (150, 150, 150), 1)
    rows = _rows(note)[mask]
    x0, y0, x1, y1 = _window(rows[:, :4], image.shape[1], image.shape[0])
    rows[:, :4] -= (x0, y0, x0, y0)
    part = image[y0:y1, x0:x1]
    why = "; ".join(f"{why}: {int(own.sum())}" for why, own in reasons)
    where = f" (pixels {x0} to {x1}, {y0} to {y1})" if part.shape != image.shape else ""
    return _drawn(part, rows, split.classes, _name(split, index), escape(why + where))


def _window(boxes: NDArray[np.float64], width: int, height: int) -> tuple[int, int, int, int]:
    """The part of an image around boxes: three times their extent, or all of it where that is not much more."""
    lower, upper = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    side = max(CLOSE, 3 * float((upper - lower).max()))
    if side > 0.6 * min(width, height):
        return 0, 0, width, height
    centre = (lower + upper) / 2
    x0 = int(np.clip(centre[0] - side / 2, 0, width - side))
    y0 = int(np.clip(centre[1] - side / 2, 0, height - side))
    return x0, y0, x0 + int(side), y0 + int(side)


def _rows(note: Annotation) -> NDArray[np.float64]:
    return np.concatenate([note.boxes, np.full((len(note), 1), np.nan), note.labels[:, None]], axis=1)


def _name(split: VocSplit, index: int) -> str:
    count = len(split.annotations[index])
    return escape(f"{split.split}: {split.ids[index]}, {count} {'box' if count == 1 else 'boxes'}")


def _drawn(image: NDArray[np.uint8], rows: NDArray[np.float64], classes: Sequence[str], name: str, below: str) -> str:
    """A figure of an image with boxes (n, 6) and text below, which is HTML."""
    scale = SIDE / max(image.shape[:2])
    if scale != 1:
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = cv2.resize(image, size, interpolation=how).astype(np.uint8, copy=False)
        rows[:, :4] *= scale
    data = base64.b64encode(_jpeg(Painter(classes).draw(image, rows))).decode()
    reason = f"<br>{below}" if below else ""
    picture = f'<img alt="{name}" src="data:image/jpeg;base64,{data}">'
    return f"<figure>{picture}<figcaption>{name}{reason}</figcaption></figure>"


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
