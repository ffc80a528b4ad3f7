from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.deploy.models import tiny_detector
from yoloslim.deploy import onnx as module
from yoloslim.deploy.decoded import append_nms
from yoloslim.deploy.export import export_model
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import NmsOptions, decode, nms
from yoloslim.evaluation.predictor import divide_by_255
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.models.detector import build_detector

IMAGES = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


def run(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": divide_by_255(images)}), strict=True))


@pytest.mark.parametrize("name", ["yolov5n", "yolov3-tiny"])
def test_decoded_outputs_are_those_of_decode(name: str, tmp_path: Path) -> None:
    model = build_detector(name, ("a", "b", "c"), 64).eval()
    export_model(model, tmp_path, ExportOptions(batch=2, outputs="decoded"))
    found, predictor = run(tmp_path / "model.onnx", IMAGES), TorchPredictor(model)
    boxes, scores = decode(predictor.predict(IMAGES), predictor.head)
    np.testing.assert_allclose(found["boxes"], boxes, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found["scores"], scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch", [0, 1])
def test_nms_in_the_graph_finds_what_ours_finds(batch: int, tmp_path: Path) -> None:
    model, limits = tiny_detector(), NmsOptions(conf_thres=0.002, iou_thres=0.5, max_det=None)
    export_model(model, tmp_path, ExportOptions(batch=batch, outputs="nms", nms=limits))
    predictor = TorchPredictor(model)
    images = IMAGES if batch == 0 else IMAGES[:1]
    boxes, scores = decode(predictor.predict(images), predictor.head)
    found = run(tmp_path / "model.onnx", images)["detections"]
    assert found.shape[1] == 7
    for number, expected in enumerate(nms(boxes, scores, limits)):
        mine = found[found[:, 0] == number, 1:]
        assert len(expected) > 10
        order, theirs = np.lexsort(mine[:, [4, 5]].T), np.lexsort(expected[:, [4, 5]].T)
        np.testing.assert_allclose(mine[order], expected[theirs], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("max_det", [None, 3])
def test_a_graph_that_suppresses_by_another_rule_is_not_written(
    max_det: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ExportOptions(outputs="nms", nms=NmsOptions(0.25, 0.45, max_det))
    assert export_model(tiny_detector(), tmp_path / "right", options).max_abs_diff < 1e-4

    def append_other(graph: onnx.ModelProto, options: NmsOptions) -> None:
        append_nms(graph, options)
        (node,) = (node for node in graph.graph.node if node.op_type == "NonMaxSuppression")
        node.attribute.append(onnx.helper.make_attribute("center_point_box", 1))  # corners read as centre and size

    monkeypatch.setattr(module, "append_nms", append_other)
    with pytest.raises(DeployError, match=r"keeps \d+ boxes of 1000 candidates, and they are not the \d+ to be kept"):
        export_model(tiny_detector(), tmp_path / "wrong", options)
    assert not (tmp_path / "wrong").exists()


def test_a_graph_of_boxes_is_described_and_refused_as_predictor(tmp_path: Path) -> None:
    manifest = export_model(tiny_detector(), tmp_path, ExportOptions(outputs="nms"))
    assert manifest == load_manifest(tmp_path)
    assert (manifest.outputs, manifest.heads) == ("nms", ())
    assert [o.name for o in onnx.load(tmp_path / "model.onnx").graph.output] == ["detections"]
    with pytest.raises(DeployError, match="gives boxes, not raw heads"):
        open_predictor(tmp_path)


@pytest.mark.parametrize("options", [{"opset": 10}, {"opset": 19}, {"batch": -1}])
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(DeployError, match=r"opset 1\d cannot be written|batch -1 makes no sense"):
        ExportOptions(**options)


def test_formats_refuse_what_they_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="ncnn takes one image a call"):
        export_model(tiny_detector(), tmp_path, ExportOptions(batch=0), "ncnn")
    with pytest.raises(DeployError, match="'nms' exist for onnx only"):
        export_model(tiny_detector(), tmp_path, ExportOptions(outputs="nms"), "openvino")
