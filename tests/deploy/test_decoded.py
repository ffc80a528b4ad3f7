from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.deploy.models import tiny_detector
from yoloslim.choices import Outputs
from yoloslim.deploy import onnx as module
from yoloslim.deploy.decoded import append_best, append_nms
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.onnx import ExportOptions, onnx_graph
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.errors import ConfigError, DeployError, WeightsError
from yoloslim.evaluation.nms import NmsOptions, decode, describe_suppression, detect, nms, showing
from yoloslim.evaluation.predictor import divide_by_255
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.models.detector import build_detector
from yoloslim.models.foreign.adapt import with_branch

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


def test_a_graph_of_boxes_says_so_in_its_manifest(tmp_path: Path) -> None:
    manifest = export_model(tiny_detector(), tmp_path, ExportOptions(outputs="nms"))
    assert manifest == load_manifest(tmp_path)
    assert (manifest.outputs, manifest.heads) == ("nms", ())
    assert [o.name for o in onnx.load(tmp_path / "model.onnx").graph.output] == ["detections"]


@pytest.mark.parametrize("batch", [0, 1, 4])
@pytest.mark.parametrize("outputs", ["decoded", "nms", "end2end"])
def test_graphs_that_decode_inside_find_what_raw_heads_find(outputs: Outputs, batch: int, tmp_path: Path) -> None:
    model = build_detector("yolo26n", ("a", "b"), 64).eval() if outputs == "end2end" else tiny_detector()
    limits = NmsOptions(0, 0.5, max_det=20) if outputs == "end2end" else NmsOptions(0.004, 0.5)
    export_model(model, tmp_path, ExportOptions(batch=batch, outputs=outputs, nms=limits))
    images = np.concatenate([IMAGES, IMAGES[:, ::-1], IMAGES[:1, :, ::-1]])
    raw = TorchPredictor(model)
    expected = detect(raw.predict(images), raw.head, limits)
    (tmp_path / "manifest.json").rename(tmp_path / "kept.json")
    for known in ("", "kept.json"):  # the file alone says as much
        if known:
            (tmp_path / known).rename(tmp_path / "manifest.json")
        predictor = open_predictor(tmp_path if known else tmp_path / "model.onnx")
        found = detect(predictor.predict(images), predictor.head, limits)
        assert len(found) == len(images) == 5
        for mine, theirs in zip(found, expected, strict=True):
            assert len(theirs) > 10
            assert len(mine) == len(theirs)
            np.testing.assert_allclose(mine[:, 4], theirs[:, 4], rtol=1e-4)
            near = np.abs(mine[:, None] - theirs[None]).max(2) < 0.01
            assert near.any(1).mean() > 0.98


def test_what_a_graph_decided_cannot_be_asked_for_again(tmp_path: Path) -> None:
    export_model(tiny_detector(), tmp_path, ExportOptions(outputs="nms", nms=NmsOptions(0.3, 0.5, max_det=7)))
    head = open_predictor(tmp_path).head
    assert showing(head).conf_thres == 0.3
    assert showing(head, 0.6).conf_thres == 0.6
    rule = "NMS at an overlap of 0.5 among scores above 0.3, at most 7 of a class"
    assert describe_suppression(head, NmsOptions()) == f"inside the graph: {rule}; the 300 best"
    with pytest.raises(
        ConfigError, match=r"scores down to 0\.1 cannot be had: the graph decided it .*among scores above"
    ):
        showing(head, 0.1)
    with pytest.raises(ConfigError, match=r"an overlap of 0\.7 cannot be had"):
        showing(head, iou=0.7)
    raw = TorchPredictor(tiny_detector()).head
    assert (showing(raw).conf_thres, showing(raw).iou_thres, showing(raw, 0.1, 0.7).iou_thres) == (0.25, 0.45, 0.7)


def test_boxes_of_a_head_that_finds_each_object_once_are_not_suppressed(tmp_path: Path) -> None:
    model = build_detector("yolo26n", ("a", "b"), 64).eval()
    export_model(model, tmp_path, ExportOptions(batch=2, outputs="decoded"))
    raw, boxes = TorchPredictor(model), open_predictor(tmp_path)
    expected, found = (detect(each.predict(IMAGES), each.head, NmsOptions(0)) for each in (raw, boxes))
    assert describe_suppression(boxes.head, NmsOptions()).startswith("none")
    assert [len(each) for each in found] == [len(each) for each in expected]
    assert len(found[0]) > len(nms(*boxes.predict(IMAGES), NmsOptions(0))[0])


def test_distances_below_zero_are_suppressed_alike_inside_and_outside(tmp_path: Path) -> None:
    model = with_branch(build_detector("yolo26n", ("a", "b"), 128).eval(), "one_to_many")
    torch.manual_seed(0)
    for tower in model.model[-1].cv2:
        torch.nn.init.normal_(tower[2].bias, 0, 2)
    assert export_model(model, tmp_path, ExportOptions(outputs="nms")).outputs == "nms"


@pytest.mark.parametrize("options", [{"opset": 10}, {"opset": 19}, {"batch": -1}])
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(DeployError, match=r"opset 1\d cannot be written|batch -1 makes no sense"):
        ExportOptions(**options)


def test_formats_refuse_what_they_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="ncnn takes one image a call"):
        export_model(tiny_detector(), tmp_path, ExportOptions(batch=0), "ncnn")
    with pytest.raises(DeployError, match="'nms' exist for onnx only"):
        export_model(tiny_detector(), tmp_path, ExportOptions(outputs="nms"), "openvino")


@pytest.mark.parametrize(("opset", "batch"), [(11, 0), (18, 2)])
def test_a_head_that_needs_no_nms_gives_its_best(opset: int, batch: int, tmp_path: Path) -> None:
    model = build_detector("yolo26n", ("a", "b", "c"), 64).eval()
    options = ExportOptions(opset, batch, "end2end", NmsOptions(max_det=20))
    manifest = export_model(model, tmp_path, options)
    assert (manifest.outputs, manifest.heads) == ("end2end", ())
    found, predictor = run(tmp_path / "model.onnx", IMAGES)["detections"], TorchPredictor(model)
    expected = np.stack(detect(predictor.predict(IMAGES), predictor.head, NmsOptions(0, max_det=20)))
    assert found.shape == (2, 20, 6)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    whole = onnx_graph(model, ExportOptions(outputs="end2end")).graph.output[0]
    assert [side.dim_value for side in whole.type.tensor_type.shape.dim] == [1, 84, 6]  # no more than cells


def test_outputs_that_do_not_suit_the_head_are_refused_with_those_that_do(tmp_path: Path) -> None:
    pairs = [("yolov8n", "end2end", "no outputs 'end2end'; ask for 'nms'"), ("yolo26n", "nms", "outputs 'end2end'")]
    for name, outputs, said in pairs:
        model = build_detector(name, ("a", "b", "c"), 64).eval()
        with pytest.raises(DeployError, match=said):
            export_model(model, tmp_path / name, ExportOptions(outputs=outputs))
    other = with_branch(model, "one_to_many")
    assert export_model(other, tmp_path, ExportOptions(outputs="nms")).outputs == "nms"
    with pytest.raises(WeightsError, match="yolov5n has no branch to choose"):
        with_branch(tiny_detector(), "one_to_many")


def test_a_graph_that_does_not_give_the_best_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def append_worst(graph: onnx.ModelProto, classes: int, count: int) -> None:
        append_best(graph, classes, count)
        (node,) = (node for node in graph.graph.node if node.op_type == "TopK")
        node.attribute.append(onnx.helper.make_attribute("largest", 0))

    monkeypatch.setattr(module, "append_best", append_worst)
    with pytest.raises(DeployError, match="detections are not the best of its own scores"):
        export_model(
            build_detector("yolo26n", ("a", "b"), 64).eval(),
            tmp_path / "m",
            ExportOptions(outputs="end2end", nms=NmsOptions(max_det=20)),
        )
    assert not (tmp_path / "m").exists()
