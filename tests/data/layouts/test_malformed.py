"""Every fault in every layout: right, or left out and said, or refused in a sentence; docs/data.md has the table."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import cv2
import numpy as np
import pytest

from tests.data.layouts import conftest as made
from yoloslim.data.exif import turned
from yoloslim.data.prepare import prepare
from yoloslim.data.voc import read_annotation
from yoloslim.errors import DataError

DOCS = Path(__file__).parents[3] / "docs" / "data.md"
LAST = 10
"""Number of the image that faults of a single file are put into."""


def write_voc(root: Path) -> Path:
    for split, indices in made.SPLITS.items():
        for i in indices:
            made.image(root / "JPEGImages" / f"a{i}.jpg", i)
            corners = zip(("xmin", "ymin", "xmax", "ymax"), made.box_of(i), strict=True)
            box = "".join(f"<{tag}>{v + (tag[1:] == 'min')}</{tag}>" for tag, v in corners)
            item = f"<object><name>{escape(made.CLASSES[i % 2])}</name><bndbox>{box}</bndbox></object>"
            size = "<size><width>64</width><height>48</height><depth>3</depth></size>"
            path = root / "Annotations" / f"a{i}.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"<annotation><filename>a{i}.jpg</filename>{size}{item}</annotation>")
        sets = root / "ImageSets" / "Main"
        sets.mkdir(parents=True, exist_ok=True)
        (sets / f"{split}.txt").write_text("".join(f"a{i}\n" for i in indices))
    return root


WRITE: dict[str, Callable[[Path], Path]] = {
    "VOC": write_voc,
    "VOC, Roboflow": made.write_roboflow,
    "YOLO": made.write_yolo,
    "COCO": made.write_coco,
    "CVAT": made.write_cvat,
    "LabelMe": made.write_labelme,
}
NUMBER = r"-?\d+(?:\.\d+)?"


def texts(root: Path) -> list[Path]:
    return [p for p in sorted(root.rglob("*")) if p.suffix in (".xml", ".json", ".yaml", ".txt")]


def pictures(root: Path) -> list[Path]:
    return sorted(root.rglob("*.jpg"))


def last(root: Path) -> Path:
    """The file that holds the boxes of the last image."""
    single = [p for p in texts(root) if p.stem == f"a{LAST}"]
    return single[0] if single else next(p for p in texts(root) if f"a{LAST}.jpg" in p.read_text())


def change_boxes(root: Path, change: Callable[[list[float]], list[float]], only_last: bool = False) -> None:
    """Rewrite boxes: corners in VOC, CVAT and LabelMe, corner and size in COCO, centre and size in YOLO."""
    for path in [last(root)] if only_last else texts(root):
        text = path.read_text()
        if path.suffix == ".json" and "shapes" in text:
            document = json.loads(text)
            for shape in document["shapes"]:
                flat = change([float(v) for point in shape["points"][:2] for v in point])
                shape["points"] = [flat[:2], flat[2:]]
                shape["shape_type"] = "rectangle"
            text = json.dumps(document)
        elif path.suffix == ".json":
            document = json.loads(text)
            for item in document["annotations"]:
                if not only_last or item["image_id"] == LAST:
                    item["bbox"] = change(item["bbox"])
            text = json.dumps(document)
        elif path.suffix == ".txt" and "labels" in path.parts:
            number, *values = text.split()
            text = " ".join([number, *map(str, change(list(map(float, values))))]) + "\n"
        elif path.suffix == ".xml":
            tags = ("xtl", "ytl", "xbr", "ybr") if "xtl" in text else ("xmin", "ymin", "xmax", "ymax")
            pattern = ".*?".join(rf'{tag}(?:="|>)({NUMBER})' for tag in tags)

            start = max(0, text.find(f"a{LAST}.jpg")) if only_last else 0
            text = text[:start] + re.sub(pattern, partial(_changed, change), text[start:], flags=re.DOTALL)
            if not only_last:
                text = re.sub(r'points="([^"]*)"', lambda found: _polygon(change, found[1]), text)
        path.write_text(text)


def _changed(change: Callable[[list[float]], list[float]], found: re.Match[str]) -> str:
    new, at = "", 0
    for number, value in enumerate(change([float(v) for v in found.groups()]), 1):
        new += found[0][at : found.start(number) - found.start()] + str(value)
        at = found.end(number) - found.start()
    return new + found[0][at:]


def _polygon(change: Callable[[list[float]], list[float]], points: str) -> str:
    first, _, last = (list(map(float, point.split(","))) for point in points.split(";"))
    x0, y0, x1, y1 = change([*first, *last])
    return f'points="{x0},{y0};{x1},{y0};{x1},{y1}"'


def reverse(box: list[float]) -> list[float]:
    return [box[2], box[3], box[0], box[1]]


def no_width(root: Path) -> None:
    sizes = any("bbox" in path.read_text() for path in root.rglob("*.json")) or bool(list(root.rglob("data.yaml")))
    change_boxes(root, lambda box: [box[0], box[1], 0 if sizes else box[0], box[3]], True)


def side_files(root: Path) -> None:
    for path in [*texts(root), *pictures(root)]:
        path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")
        (path.parent / ".DS_Store").write_bytes(b"\x00")
        (path.parent / "Thumbs.db").write_bytes(b"\xd0\xcf")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "._a0.xml").write_bytes(b"\x00")


def encoded(encoding: str) -> Callable[[Path], None]:
    return lambda root: [path.write_text(path.read_text(), encoding=encoding) for path in texts(root)] and None


def sideways(root: Path) -> None:
    tag = bytes.fromhex("01120003000000010006000000000000"[:24])
    body = b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01" + tag + b"\x00\x00"
    exif = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    for path in pictures(root):
        stored = turned(cv2.imread(str(path)), 8)  # orientation 6 turns it back
        data = cv2.imencode(".jpg", np.ascontiguousarray(stored))[1].tobytes()
        path.write_bytes(data[:2] + exif + data[2:])


def many_bits(root: Path) -> None:
    for path in pictures(root):
        wide = cv2.imread(str(path)).astype(np.uint16) * 16
        path.write_bytes(cv2.imencode(".png", wide)[1].tobytes())  # named .jpg still, as annotations say


def in_last(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda root: last(root).write_bytes(change(last(root).read_bytes())) and None


def renamed(root: Path, suffix: str, new: str) -> None:
    for path in [p for p in sorted(root.rglob("*")) if p.suffix == suffix]:
        path.rename(path.with_suffix(new))


def dog(root: Path, name: str, encoding: str) -> None:
    """The class dog has another name."""
    for path in texts(root):
        text, inside = path.read_text(), name.replace("\n", "\\n")
        text = re.sub(r">dog<", f">{name}<", text)
        text = text.replace('label="dog"', f'label="{name.replace(chr(10), "&#10;")}"')
        text = text.replace('"dog"', f'"{inside}"').replace("[dog,", f'["{inside}",')
        path.write_bytes(text.encode(encoding))


def other_units(root: Path) -> None:
    """Shares of the sides where pixels are meant, and pixels where shares are."""
    sides = [64.0, 48.0, 64.0, 48.0]
    shares = bool(list(root.rglob("data.yaml")))
    change_boxes(root, lambda box: [v * s if shares else v / s for v, s in zip(box, sides, strict=True)])


def picture(root: Path) -> Path:
    return next(p for p in pictures(root) if p.stem == f"a{LAST}")


FAULTS: dict[str, Callable[[Path], None]] = {
    "none": lambda root: None,
    "side files of operating systems": side_files,
    "byte-order marks": encoded("utf-8-sig"),
    "UTF-16": encoded("utf-16"),
    "`.JPG`": lambda root: renamed(root, ".jpg", ".JPG"),
    "images of another suffix": lambda root: renamed(root, ".jpg", ".jpeg"),
    "EXIF orientation 6": sideways,
    "12 bits in 16-bit PNG": many_bits,
    "a NaN in one box": lambda root: change_boxes(root, lambda box: [float("nan"), *box[1:]], True),
    "an infinity in one box": lambda root: change_boxes(root, lambda box: [*box[:3], float("inf")], True),
    "one box of no width": no_width,
    "one box outside its image": lambda root: change_boxes(root, lambda box: [v + 5000 for v in box], True),
    "one file of boxes cut short": in_last(lambda data: data[: len(data) * 2 // 3]),
    "one file of boxes with control characters": in_last(lambda data: data.replace(b"1", b"\x00", 1)),
    "one image missing": lambda root: picture(root).unlink(),
    "one image cut short": lambda root: picture(root).write_bytes(picture(root).read_bytes()[:400]) and None,
    "one image that is text": lambda root: picture(root).write_text("none") and None,
    "an empty file of boxes": lambda root: last(root).write_text("") and None,
    "bytes of another encoding": lambda root: dog(root, "d\u00f6g", "latin-1"),
    "a line break in a class name": lambda root: dog(root, "dog\n big", "utf-8"),
    "all boxes in other units": other_units,
    "two images of one stem": lambda root: (
        picture(root)
        .with_suffix(".png")
        .write_bytes(cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes())
        and None
    ),
    "all corners reversed": lambda root: change_boxes(root, reverse),
}
CORNERS = ("VOC", "VOC, Roboflow", "CVAT", "LabelMe")


def outcome(name: str, fault: str, folder: Path, make_params: Any) -> str:
    """What becomes of a set with a fault; `silent` is what must never be."""
    usual = prepare(make_params(source="auto", path=str(WRITE[name](folder / "whole"))), folder / "usual")
    root = WRITE[name](folder / "set")
    FAULTS[fault](root)
    try:
        report = prepare(make_params(source="auto", path=str(root)), folder / "out")
    except DataError as error:
        return "refused" if len(str(error)) > 20 and not (folder / "out").exists() else "silent"
    said = any(report[key] != usual.get(key) for key in report if key not in ("images", "boxes", "boxes_total"))
    if _boxes(folder / "out") == _boxes(folder / "usual"):
        pixels = cv2.imread(str(sorted((folder / "out" / "JPEGImages").iterdir())[0]))
        assert pixels.shape == (48, 64, 3)
        assert pixels.max() > 200
        return "right, said" if said else "right"
    return "left out, said" if said else "silent"


def _boxes(root: Path) -> dict[str, list[list[float]]]:
    classes = (root / "classes.txt").read_text().splitlines()
    found = {path.stem: read_annotation(path, classes) for path in (root / "Annotations").glob("*.xml")}
    return {
        name: [[*map(round, box), label] for box, label in zip(n.boxes.tolist(), n.labels.tolist(), strict=True)]
        for name, n in found.items()
    }


def applies(name: str, fault: str) -> bool:
    return fault != "all corners reversed" or name in CORNERS


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_is_silent_in_any_layout(fault: str, tmp_path: Path, make_params: Any) -> None:
    found = {}
    for name in WRITE:
        folder = tmp_path / re.sub(r"\W", "", name)
        folder.mkdir()
        found[name] = outcome(name, fault, folder, make_params) if applies(name, fault) else "–"
    print(f"| {fault} | {' | '.join(found.values())} |")
    assert "silent" not in found.values(), found
    (row,) = [line for line in DOCS.read_text().splitlines() if line.startswith(f"| {fault} |")]
    assert row == f"| {fault} | {' | '.join(found.values())} |"
