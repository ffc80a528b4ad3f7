"""Public checkpoints of YOLOv8 and YOLO26, whose outputs are stored beside them, and one that other code pruned."""

from pathlib import Path

import numpy as np
import pytest
import torch

from yoloslim.errors import ModelError, WeightsError
from yoloslim.evaluation.nms import decode
from yoloslim.heads.anchor_free import AnchorFreeHead
from yoloslim.models.detector import Detector, build_detector, fuse
from yoloslim.models.foreign.checkpoint import Checkpoint, _check_task
from yoloslim.models.foreign.load import import_model
from yoloslim.models.foreign.match import detector_from
from yoloslim.models.foreign.records import Global, Record
from yoloslim.models.store import load_model, save_model
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut

CHECKPOINTS = Path(__file__).parents[4] / "shared" / "data" / "checkpoints"
real = pytest.mark.skipif(not CHECKPOINTS.is_dir(), reason="../shared/data/checkpoints is absent")
CLASSES = ("ant", "bee", "cat")


@real
@pytest.mark.data
@pytest.mark.parametrize("name", ["yolov8n", "yolo26n"])
def test_real_checkpoint_gives_its_stored_outputs(name: str, tmp_path: Path) -> None:
    model = import_model(CHECKPOINTS / f"{name}-bccd.pt")
    assert (model.spec.name, model.spec.classes, model.spec.imgsz) == (name, ("Platelets", "RBC", "WBC"), 320)
    stored = np.load(CHECKPOINTS / f"{name}-bccd.npz")
    x = torch.from_numpy(np.random.default_rng(0).random((1, 3, 320, 320), dtype=np.float32))
    with torch.no_grad():
        outputs = model(x)
    keys = ["1."] if name == "yolov8n" else ["1.one2many.", "1.one2one."]
    for branch, key in enumerate(keys):
        flat = torch.cat([each.flatten(2) for each in outputs[3 * branch : 3 * branch + 3]], 2).numpy()
        expected = np.concatenate([stored[f"{key}boxes"], stored[f"{key}scores"]], 1)
        np.testing.assert_allclose(flat, expected, atol=1e-5)
    head = model.spec.head
    assert isinstance(head, AnchorFreeHead)
    many = head.model_copy(update={"answers": head.answers and "one_to_many"})
    boxes, scores = decode([each.numpy() for each in outputs], many)
    traced, probabilities = many.decode(outputs[:3], 3, 320)
    np.testing.assert_allclose(traced.numpy(), boxes, atol=1e-3)
    np.testing.assert_allclose(probabilities.numpy(), scores, atol=1e-6)
    xywh = np.concatenate([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], 2)
    np.testing.assert_allclose(xywh[0].T, stored["0"][0, :4], atol=1e-3)
    np.testing.assert_allclose(scores[0].T, stored["0"][0, 4:], atol=1e-5)


@real
@pytest.mark.data
def test_network_that_other_code_pruned_has_its_widths_read_off(tmp_path: Path) -> None:
    model = import_model(CHECKPOINTS / "yolov5n-pruned-25.pt")
    assert model.spec.name == "yolov5n"
    assert model.spec.widths["model.2.cv3.conv"] == (31, 28)
    assert model.spec.layers[2].shortcut is False
    save_model(model, tmp_path / "m.safetensors")
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for mine, again in zip(model(x), load_model(tmp_path / "m.safetensors")(x), strict=True):
            assert torch.equal(mine, again)


def small(name: str, percent: int = 50) -> Detector:
    model = build_detector(name, CLASSES, imgsz=64).eval()
    coupling = find_coupling(model)
    request = PruneRequest(scope="coupled", percent=percent, imgsz=64, importance="random", round_to=1)
    return cut(model, coupling, select_channels(model, coupling, request).keep)


@pytest.mark.parametrize("name", ["yolov5n", "yolov8n", "yolo11n", "yolo26n"])
def test_widths_of_a_pruned_state_are_found_for_every_family(name: str) -> None:
    pruned = small(name)
    again = detector_from(Checkpoint(pruned.state_dict()), None, CLASSES)
    assert again.spec.name == name
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(pruned.eval()(x), again(x), strict=True))


def test_widths_that_contradict_each_other_name_the_tensors() -> None:
    state = small("yolov8n").state_dict()
    state["model.3.conv.weight"] = state["model.3.conv.weight"][:, 1:]
    with pytest.raises(WeightsError, match=r"contradicts itself: model.3.conv.weight takes .*model.2.cv2.conv.weight"):
        detector_from(Checkpoint(state), "yolov8n", CLASSES)


@pytest.mark.parametrize("name", ["yolov8n", "yolo26n"])
def test_fused_network_computes_the_same(name: str) -> None:
    model = build_detector(name, CLASSES, imgsz=64).eval()
    one = fuse(model)
    again = detector_from(Checkpoint(one.state_dict()), None, CLASSES)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected, found = one(x), again(x)
    assert len(found) == (3 if name == "yolov8n" else 6)
    for mine, theirs in zip(found[:3], expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)


def test_bins_and_number_of_classes_are_those_of_the_tensors() -> None:
    spec = build_detector("yolov8n", CLASSES, imgsz=64).spec
    spec = spec.model_copy(update={"head": spec.head.model_copy(update={"bins": 8})})
    again = detector_from(Checkpoint(Detector(spec).state_dict(), classes=("only one",)), None, None)
    assert isinstance(again.spec.head, AnchorFreeHead)
    assert again.spec.head.bins == 8
    assert again.spec.classes == ("class0", "class1", "class2")


def test_segmentation_and_changed_bins_are_refused() -> None:
    state = build_detector("yolov8n", CLASSES, imgsz=64).state_dict()
    with pytest.raises(WeightsError, match="it is a checkpoint for segmentation"):
        detector_from(Checkpoint(state | {"model.22.proto.cv1.conv.weight": torch.zeros(1)}))
    with pytest.raises(WeightsError, match=r"dfl.conv.weight is not 0 to 15"):
        detector_from(Checkpoint(state | {"model.22.dfl.conv.weight": torch.ones(1, 16, 1, 1)}))


def module(path: str, name: str, **state: object) -> tuple[str, Record]:
    return path, Record(Global("ultralytics.nn.modules.block", name), state=dict(state))


def test_pooling_that_computes_without_activation_is_read_from_its_module() -> None:
    state = build_detector("yolov8n", CLASSES, imgsz=64).state_dict()
    paths = [module("model.9", "SPPF"), module("model.9.cv1", "Conv"), module("model.9.cv1.act", "Identity")]
    linear, usual = detector_from(Checkpoint(state, dict(paths))), detector_from(Checkpoint(state))
    assert (linear.spec.layers[9].activation, usual.spec.layers[9].activation) == ("linear", None)
    features = torch.rand(1, 256, 2, 2)
    with torch.no_grad():
        first = linear.model[9].cv1
        assert torch.equal(first(features), first.bn(first.conv(features)))
        assert not torch.equal(first(features), usual.model[9].cv1(features))


def test_half_precision_that_overflowed_names_the_tensor() -> None:
    state = build_detector("yolo26n", CLASSES, imgsz=64).half().state_dict()
    state["model.4.cv2.bn.weight"][3] = torch.inf
    with pytest.raises(WeightsError, match=r"tensor 'model.4.cv2.bn.weight' holds 1 values that are infinite"):
        detector_from(Checkpoint(state))


def test_names_of_another_number_are_said_and_not_used(caplog: pytest.LogCaptureFixture) -> None:
    state = build_detector("yolo11n", CLASSES, imgsz=64).state_dict()
    assert detector_from(Checkpoint(state, classes=("one", "two"))).spec.classes == ("class0", "class1", "class2")
    assert "it names 2 classes, but its head tells 3 apart: the names are not used" in caplog.text


TASKS = {"Segment": "segmentation", "Pose": "pose estimation", "OBB": "rotated boxes", "Classify": "classification"}


@pytest.mark.parametrize(("kind", "task"), TASKS.items())
def test_other_tasks_of_these_families_are_named(kind: str, task: str) -> None:
    last = Record(Global("ultralytics.nn.modules.head", kind), state={"_modules": {}})
    layers = Record(Global("torch.nn.modules.container", "Sequential"), state={"_modules": {"0": last}})
    network = Record(Global("ultralytics.nn.tasks", "DetectionModel"), state={"_modules": {"model": layers}})
    with pytest.raises(WeightsError, match=rf"it is a checkpoint for {task} \({kind}\)"):
        _check_task(network)


def test_a_layer_of_an_unknown_class_is_named() -> None:
    state = build_detector("yolov8n", CLASSES, imgsz=64).state_dict()
    paths = dict([module("model.9", "SPPF"), module("model.9.cv1", "Conv"), module("model.9.cv1.act", "Hardswish")])
    with pytest.raises(WeightsError, match=r"it computes something else: model.9.cv1.act is Hardswish, not SiLU"):
        detector_from(Checkpoint(state, paths))


def test_a_block_of_an_unknown_class_is_refused_though_its_tensors_fit() -> None:
    state = build_detector("yolov8n", CLASSES, imgsz=64).state_dict()
    pruned = Checkpoint(state, dict([module("model.2", "C2f"), module("model.4", "C2fPruned")]))
    assert detector_from(pruned).spec.name == "yolov8n"
    other = Checkpoint(state, dict([module("model.2", "C2f_SimAM"), module("model.4", "C2f_SimAM")]))
    with pytest.raises(WeightsError, match=r"model.2 and 1 more of class C2f_SimAM, which is not known, where C2f is"):
        detector_from(other)


@pytest.mark.parametrize(("name", "near"), [("yolov8k", "yolov8"), ("yolo11z", "yolo11"), ("yolo27n", "yolo26n")])
def test_a_scale_or_family_that_does_not_exist_names_those_that_do(name: str, near: str) -> None:
    with pytest.raises(ModelError, match=rf"model '{name}' is not known; did you mean .*{near}"):
        build_detector(name, CLASSES)
