"""What a served model answers, without a server around it."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import yoloslim
from tests.tiny import shake_norms, tiny_detector
from yoloslim.errors import DataError
from yoloslim.tracking.served import COLUMNS, ServedDetector


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tiny_detector(("cat", "dog")).eval()
    shake_norms(model)
    folder = tmp_path_factory.mktemp("served") / "onnx"
    yoloslim.export(model, folder)
    return folder


def test_a_served_model_finds_what_detect_finds(export: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (48, 80, 3), np.uint8))
    expected = yoloslim.detect(export, paths, conf=0.0001)
    answer = ServedDetector(export).predict(
        pd.DataFrame({"image": [path.read_bytes() for path in paths]}), {"conf": 0.0001}
    )
    assert sum(map(len, expected)) > 20
    assert answer[["image", "class"]].values.tolist() == [
        [number, each.name] for number, found in enumerate(expected) for each in found
    ]
    boxes = [[round(side, 1) for side in each.xyxy] for found in expected for each in found]
    np.testing.assert_allclose(answer[["x1", "y1", "x2", "y2"]], boxes, atol=0.11)
    assert list(answer) == list(COLUMNS)


@pytest.mark.parametrize("picture", ["aGk=", None, 3])
def test_what_is_no_bytes_is_named(export: Path, picture: object) -> None:
    with pytest.raises(DataError, match=r"image 0 is a \w+; give the bytes of a JPEG or PNG"):
        ServedDetector(export).predict(pd.DataFrame({"image": [picture]}, dtype=object))
