"""Images side by side give what images one after the other give."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.tiny import shake_norms, tiny_detector
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.evaluation.inference import PredictorInference
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.evaluation.predictor import Predictor
from yoloslim.evaluation.predictor.onnxruntime import OnnxPredictor
from yoloslim.evaluation.predictor.pytorch import SHARE, TorchPredictor
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.tasks import boxes_of, detections


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(9):
        cv2.imwrite(str(folder / f"{i}.png"), rng.integers(0, 255, (40 + 4 * i, 64, 3), dtype=np.uint8))
    (folder / "4.png").write_bytes(b"no picture")
    return folder


def torch_predictor() -> TorchPredictor:
    model = tiny_detector()
    shake_norms(model)
    return TorchPredictor(model.eval())


def found(predictor: Predictor, folder: Path) -> tuple[list[str], list[np.ndarray], list[str]]:
    skipped: list[str] = []

    def skip(path: Path, _: RunnerError) -> None:
        skipped.append(path.name)

    pipeline = PredictorInference(predictor, NmsOptions(conf_thres=1e-4))
    rows = list(detections(pipeline, sorted(folder.iterdir()), skip))
    return [path.name for path, _, _ in rows], [boxes for _, _, boxes in rows], skipped


def assert_side_by_side_changes_nothing(predictor: Predictor, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yoloslim.evaluation.inference.thread_count", lambda *_: 1)
    names, expected, skipped = found(predictor, folder)
    assert names == [f"{i}.png" for i in (0, 1, 2, 3, 5, 6, 7, 8)]
    assert skipped == ["4.png"]
    assert sum(map(len, expected)) > 20
    monkeypatch.setattr("yoloslim.evaluation.inference.thread_count", lambda *_: 3)
    again, boxes, skipped = found(predictor, folder)
    assert (again, skipped) == (names, ["4.png"])
    for mine, theirs in zip(boxes, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_pytorch_side_by_side(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        assert_side_by_side_changes_nothing(torch_predictor(), folder, monkeypatch)
    finally:
        torch.set_num_threads(before)


def test_onnx_runtime_side_by_side(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_detector()
    shake_norms(model)
    export_model(model.eval(), tmp_path / "onnx")
    predictor = open_predictor(tmp_path / "onnx")
    assert isinstance(predictor, OnnxPredictor)
    assert_side_by_side_changes_nothing(predictor, folder, monkeypatch)


def test_openvino_side_by_side(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    export_model(tiny_detector().eval(), tmp_path / "onnx")
    assert_side_by_side_changes_nothing(open_predictor(tmp_path / "onnx", "openvino"), folder, monkeypatch)


@pytest.mark.parametrize("kind", ["pytorch", "graph of four"])
def test_boxes_of_files_are_the_detections_of_their_images(folder: Path, tmp_path: Path, kind: str) -> None:
    predictor: Predictor = torch_predictor()
    if kind != "pytorch":
        export_model(tiny_detector().eval(), tmp_path, ExportOptions(batch=4))
        predictor = open_predictor(tmp_path)
    inference = PredictorInference(predictor, NmsOptions(conf_thres=1e-4), threads=1)
    paths = [path for path in sorted(folder.iterdir()) if path.name != "4.png"]
    sizes: list[int] = []
    inside = inference.infer_all
    inference.infer_all = lambda canvases: sizes.append(len(canvases)) or inside(canvases)  # type: ignore[func-returns-value, method-assign]
    found = list(boxes_of(inference, [*paths, paths[0]]))
    assert sizes == ([8, 1] if kind == "pytorch" else [4, 4, 1])
    canvases, places = zip(*(inference.prepare(inference.read(path)) for path in paths), strict=True)
    heads = predictor.predict(np.stack(canvases))
    for number, place in enumerate(places):
        expected = inference.find([level[number : number + 1] for level in heads], place)
        np.testing.assert_array_equal(found[number], expected)
    assert len(found) == 9
    with pytest.raises(RunnerError, match=r"4\.png"):
        list(boxes_of(inference, sorted(folder.iterdir())))


def test_a_large_batch_is_computed_in_shares_that_change_nothing() -> None:
    images = np.random.default_rng(0).integers(0, 255, (2 * SHARE + 3, 64, 64, 3), dtype=np.uint8)
    predictor = torch_predictor()
    whole = predictor.predict(images)
    for start in range(0, len(images), SHARE):
        for mine, all_of_level in zip(predictor.predict(images[start : start + SHARE]), whole, strict=True):
            np.testing.assert_array_equal(mine, all_of_level[start : start + SHARE])
