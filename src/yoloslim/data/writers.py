"""From a prepared folder to the layouts of other tools."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import yaml

from yoloslim.data.voc import SPLITS, VocSplit, load_split
from yoloslim.data.yolo_labels import DIFFICULT
from yoloslim.files import write_json, write_text

logger = logging.getLogger(__name__)

Layout = Literal["voc", "yolo", "coco"]


def export_dataset(prepared: Path, folder: Path, layout: Layout) -> None:
    """Write a prepared folder in another layout into `folder`, which is there and empty."""
    _WRITERS[layout](prepared, folder)


def _write_voc(prepared: Path, folder: Path) -> None:
    shutil.copytree(prepared, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)


def _write_yolo(prepared: Path, folder: Path) -> None:
    difficult: list[str] = []
    for split in _splits(prepared):
        labels = folder / "labels" / split.split
        labels.mkdir(parents=True)
        _copy_images(split, folder / "images" / split.split)
        for name, note in zip(split.ids, split.annotations, strict=True):
            rows = []
            for (x0, y0, x1, y1), label in zip(note.boxes.astype(float).tolist(), note.labels, strict=True):
                shares = (
                    (x0 + x1) / 2 / note.width,
                    (y0 + y1) / 2 / note.height,
                    (x1 - x0) / note.width,
                    (y1 - y0) / note.height,
                )
                rows.append(f"{label} " + " ".join(f"{share:.9g}" for share in shares) + "\n")
            (labels / f"{name}.txt").write_text("".join(rows), encoding="utf-8")
            difficult += [f"labels/{split.split}/{name}.txt {row}\n" for row in note.difficult.nonzero()[0]]
    names = dict(enumerate(load_split(prepared, "train").classes))
    described = {"path": ".", **{split: f"images/{split}" for split in SPLITS}, "names": names}
    write_text(folder / "data.yaml", yaml.safe_dump(described, sort_keys=False, allow_unicode=True))
    if difficult:
        write_text(folder / DIFFICULT, "".join(difficult))
        logger.warning(
            "%d difficult boxes stand in %s; other tools take them for ordinary ones", len(difficult), DIFFICULT
        )


def _write_coco(prepared: Path, folder: Path) -> None:
    for split in _splits(prepared):
        _copy_images(split, folder / split.split)
        images: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        for number, (name, note) in enumerate(zip(split.ids, split.annotations, strict=True), 1):
            images.append({"id": number, "file_name": f"{name}.jpg", "width": note.width, "height": note.height})
            rows = zip(note.boxes.astype(float).tolist(), note.labels, note.difficult, strict=True)
            for (x0, y0, x1, y1), label, difficult in rows:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": int(label) + 1,
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": (x1 - x0) * (y1 - y0),
                        "iscrowd": int(difficult),
                    }
                )
        categories = [{"id": i, "name": name} for i, name in enumerate(split.classes, 1)]
        document = {"images": images, "annotations": annotations, "categories": categories}
        write_json(folder / "annotations" / f"instances_{split.split}.json", json.loads(json.dumps(document)))


def _splits(prepared: Path) -> list[VocSplit]:
    return [load_split(prepared, split) for split in SPLITS]


def _copy_images(split: VocSplit, folder: Path) -> None:
    folder.mkdir(parents=True)
    for i, name in enumerate(split.ids):
        shutil.copyfile(split.image_path(i), folder / f"{name}.jpg")


_WRITERS: dict[Layout, Callable[[Path, Path], None]] = {"voc": _write_voc, "yolo": _write_yolo, "coco": _write_coco}
