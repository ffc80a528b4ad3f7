"""The same small data set in every layout."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

WIDTH, HEIGHT = 64, 48
SPLITS = {"train": range(8), "val": range(8, 10), "test": range(10, 12)}
CLASSES = ("dog", "car")
Write = Callable[[Path], Path]


def box_of(index: int) -> tuple[int, int, int, int]:
    """`xyxy`, from 0, half-open."""
    return 4 + index, 6, 24 + index, 30


def image(path: Path, index: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(index).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())


def yolo_row(index: int) -> str:
    x0, y0, x1, y1 = box_of(index)
    shares = ((x0 + x1) / 2 / WIDTH, (y0 + y1) / 2 / HEIGHT, (x1 - x0) / WIDTH, (y1 - y0) / HEIGHT)
    return f"{index % 2} " + " ".join(f"{v:.6f}" for v in shares)


def write_yolo(root: Path) -> Path:
    for split, indices in SPLITS.items():
        for i in indices:
            image(root / "images" / split / f"a{i}.jpg", i)
            label = root / "labels" / split / f"a{i}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(yolo_row(i) + "\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\ntest: images/test\nnames: [dog, car]\n")
    return root


def write_coco(root: Path) -> Path:
    for split, indices in SPLITS.items():
        images, annotations = [], []
        for i in indices:
            image(root / split / f"a{i}.jpg", i)
            x0, y0, x1, y1 = box_of(i)
            images.append({"id": i, "file_name": f"a{i}.jpg", "width": WIDTH, "height": HEIGHT})
            annotations.append(
                {"id": i, "image_id": i, "category_id": (3, 7)[i % 2], "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
            )
        categories = [{"id": 3, "name": "dog"}, {"id": 7, "name": "car"}]
        (root / "annotations").mkdir(exist_ok=True)
        document = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(document))
    return root


def write_cvat(root: Path) -> Path:
    items = []
    for split, indices in SPLITS.items():
        for i in indices:
            image(root / "images" / f"a{i}.jpg", i)
            x0, y0, x1, y1 = box_of(i)
            shape = f'<box label="{CLASSES[i % 2]}" occluded="0" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}"/>'
            if i % 2:
                shape = f'<polygon label="car" points="{x0},{y0};{x1},{y0};{x1},{y1}"/>'
            items.append(f'<image id="{i}" name="a{i}.jpg" subset="{split}" width="64" height="48">{shape}</image>')
    labels = "".join(f"<label><name>{name}</name></label>" for name in CLASSES)
    meta = f"<meta><task><labels>{labels}</labels></task></meta>"
    (root / "annotations.xml").write_text(f"<annotations><version>1.1</version>{meta}{''.join(items)}</annotations>")
    return root


def write_labelme(root: Path) -> Path:
    for split, indices in SPLITS.items():
        for i in indices:
            image(root / split / f"a{i}.jpg", i)
            x0, y0, x1, y1 = box_of(i)
            shape = {"label": CLASSES[i % 2], "shape_type": "rectangle", "points": [[x1, y0], [x0, y1]]}
            document = {"imagePath": f"a{i}.jpg", "imageData": None, "shapes": [shape]}
            (root / split / f"a{i}.json").write_text(json.dumps(document | {"imageWidth": 64, "imageHeight": 48}))
    return root


def write_roboflow(root: Path) -> Path:
    for split, indices in SPLITS.items():
        for i in indices:
            folder = root / {"val": "valid"}.get(split, split)
            image(folder / f"a{i}.jpg", i)
            x0, y0, x1, y1 = box_of(i)
            corners = f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
            (folder / f"a{i}.xml").write_text(
                f"<annotation><size><width>64</width><height>48</height></size><object><name>{CLASSES[i % 2]}</name>"
                f"<bndbox>{corners}</bndbox></object></annotation>"
            )
    return root


WRITERS: dict[str, tuple[str, Write]] = {
    "yolo": ("yolo", write_yolo),
    "coco": ("coco", write_coco),
    "cvat": ("cvat", write_cvat),
    "labelme": ("labelme", write_labelme),
    "roboflow-voc": ("voc", write_roboflow),
}


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    return write_yolo(tmp_path / "yolo")


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco")
