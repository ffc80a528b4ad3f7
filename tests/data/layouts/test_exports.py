"""One data set written as YOLO, COCO and VOC is one data set: counts, boxes, and the mAP of fixed detections."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from yoloslim.cli import app
from yoloslim.data.prepare import prepare
from yoloslim.data.voc import SPLITS, Annotation, VocSplit, load_split
from yoloslim.evaluation.evaluate import score

COUNTS = ("classes", "images", "images_without_objects", "boxes", "boxes_total", "boxes_difficult")


def detections(annotations: Sequence[Annotation]) -> list[NDArray[np.float32]]:
    """What a fixed model would find: most boxes, a little beside their places, and some where nothing is."""
    rng, found = np.random.default_rng(0), []
    for note in annotations:
        boxes = note.boxes + rng.normal(0, 2, note.boxes.shape)
        rows = np.concatenate([boxes, rng.random((len(note), 1)), note.labels[:, None]], axis=1)
        wrong = np.array([[5, 5, 25, 25, rng.random(), 0]])
        rows = np.concatenate([rows[rng.random(len(rows)) < 0.8], wrong])
        found.append(rows[np.argsort(-rows[:, 4])].astype(np.float32))
    return found


def exported(source: Path, folder: Path, make_params: Any) -> Mapping[str, tuple[dict[str, Any], list[VocSplit]]]:
    result = {}
    for layout in ("voc", "yolo", "coco"):
        call = ["data", "convert", str(source), str(folder / layout), "--to", layout]
        done = CliRunner().invoke(app, call)
        assert done.exit_code == 0, done.output + str(done.exception)
        params = make_params(path=str(folder / layout), source="auto", min_box_px=1.0)
        report = prepare(params, folder / f"{layout}-prepared")
        result[layout] = report, [load_split(folder / f"{layout}-prepared", split) for split in SPLITS]
    return result


def check(found: Mapping[str, tuple[dict[str, Any], list[VocSplit]]]) -> None:
    wanted, splits = found["voc"]
    guesses = {split.split: detections(split.annotations) for split in splits}
    for report, others in found.values():
        assert {key: report[key] for key in COUNTS} == {key: wanted[key] for key in COUNTS}
        for split, other in zip(splits, others, strict=True):
            assert sorted(other.ids) == sorted(split.ids)
            order = [other.ids.index(name) for name in split.ids]
            truth = [other.annotations[i] for i in order]
            for number, (a, b) in enumerate(zip(split.annotations, truth, strict=True)):
                np.testing.assert_allclose(a.boxes, b.boxes, atol=0.01)
                assert a.labels.tolist() == b.labels.tolist()
                assert a.difficult.tolist() == b.difficult.tolist()
                pictures = split.image_path(number), other.image_path(order[number])
                assert pictures[0].read_bytes() == pictures[1].read_bytes()
            values = [score(each, guesses[split.split], split.classes).metrics for each in (split.annotations, truth)]
            assert values[0]["map50"] > 0.1
            assert values[1]["map50"] == pytest.approx(values[0]["map50"], abs=1e-4)


def test_three_exports_of_a_drawn_set_are_one_set(tmp_path: Path, make_voc: Any, make_params: Any) -> None:
    rng = np.random.default_rng(0)
    root = make_voc(tmp_path / "in", count=30)
    for i in range(30):
        pixels = rng.integers(0, 255, (119, 157, 3), np.uint8)  # sides whose shares have no end
        (root / f"JPEGImages/a{i}.jpg").write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
        objects = ""
        for _ in range(int(rng.integers(0, 6))):
            x, y = rng.integers(1, 100), rng.integers(1, 80)
            corners = zip(("xmin", "ymin", "xmax", "ymax"), (x, y, x + 31, y + 23), strict=True)
            box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners)
            flag = f"<difficult>{int(rng.random() < 0.2)}</difficult>"
            objects += f"<object><name>{rng.choice(['dog', 'car'])}</name>{flag}<bndbox>{box}</bndbox></object>"
        size = "<size><width>157</width><height>119</height></size>"
        (root / f"Annotations/a{i}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    check(exported(root, tmp_path, make_params))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("pack", ["bccd", "coco20"], indirect=True)
def test_three_exports_of_photographs_are_one_set(tmp_path: Path, pack: Path, make_params: Any) -> None:
    found = exported(pack, tmp_path, make_params)
    assert found["coco"][0]["images"] in ({"train": 205, "val": 87, "test": 72}, {"train": 271, "val": 41, "test": 125})
    check(found)
