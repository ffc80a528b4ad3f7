"""ONNX files of other programs run as they are, where they give boxes in a published form."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yoloslim.deploy.runtimes import open_predictor
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import NmsOptions, detect, nms

RNG = np.random.default_rng(3)
CENTRES, SIZES = RNG.uniform(10, 54, (400, 2)), RNG.uniform(4, 20, (400, 2))
SCORES = (RNG.random((400, 3)) ** 3).astype(np.float32)
BOXES = np.concatenate([CENTRES - SIZES / 2, CENTRES + SIZES / 2], 1).astype(np.float32)
XYWH = np.concatenate([CENTRES, SIZES], 1).astype(np.float32)
OPTIONS = NmsOptions(0.05, 0.5, 100)
BEST = nms(BOXES[None], SCORES[None], OPTIONS)[0]
IMAGES = np.zeros((1, 64, 64, 3), np.uint8)
NAMES = "{0: 'cat', 1: 'dog', 2: 'hen'}"


def graph(path: Path, *outputs: np.ndarray, side: int | str = 64, kind: int = TensorProto.FLOAT, **told: str) -> Path:
    """A graph that gives these outputs whatever it sees, as its shapes and metadata say."""
    nodes = [
        helper.make_node("Cast", ["images"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMin", ["cast"], ["least"], keepdims=0),
        helper.make_node("Mul", ["least", "nothing"], ["zero"]),
    ]
    weights = [numpy_helper.from_array(np.zeros((), np.float32), "nothing")]
    for number, value in enumerate(outputs):
        weights.append(numpy_helper.from_array(value.astype(np.float32), f"value{number}"))
        nodes.append(helper.make_node("Add", [f"value{number}", "zero"], [f"output{number}"]))
    images = helper.make_tensor_value_info("images", kind, [1, 3, side, side])
    infos = [helper.make_tensor_value_info(f"output{n}", TensorProto.FLOAT, v.shape) for n, v in enumerate(outputs)]
    model = helper.make_model(
        helper.make_graph(nodes, "theirs", [images], infos, weights),
        opset_imports=[helper.make_opsetid("", 11)],
        ir_version=8,
    )
    for key, value in told.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


OBJECTNESS = np.concatenate([XYWH, SCORES.max(1, keepdims=True), SCORES / SCORES.max(1, keepdims=True)], 1)[None]
FORMS = {
    "objectness": OBJECTNESS,
    "transposed": np.concatenate([XYWH, SCORES], 1).T[None],
    "final": np.concatenate([BEST, np.zeros((300 - len(BEST), 6), np.float32)])[None],
}


@pytest.mark.parametrize("form", FORMS)
def test_published_forms_give_the_same_detections(form: str, tmp_path: Path) -> None:
    predictor = open_predictor(graph(tmp_path / "theirs.onnx", FORMS[form], names=NAMES))
    assert (predictor.classes, predictor.imgsz) == (("cat", "dog", "hen"), 64)
    (found,) = detect(predictor.predict(IMAGES), predictor.head, OPTIONS)
    assert len(found) == len(BEST) > 20
    np.testing.assert_allclose(found, BEST, rtol=1e-5, atol=1e-4)


def test_raw_levels_beside_the_decoded_output_are_passed_over(tmp_path: Path) -> None:
    level = np.zeros((1, 3, 8, 8, 8), np.float32)
    predictor = open_predictor(graph(tmp_path / "theirs.onnx", OBJECTNESS, level, names=str(["cat", "dog", "hen"])))
    assert len(detect(predictor.predict(IMAGES), predictor.head, OPTIONS)[0]) == len(BEST)


def test_a_row_a_cell_of_one_class_is_no_final_output(tmp_path: Path) -> None:
    rows = np.concatenate([XYWH[:252], SCORES[:252, :1], np.ones((252, 1))], 1)[None]  # 3 (64 + 16 + 4) cells at 64 px
    predictor = open_predictor(graph(tmp_path / "theirs.onnx", rows, names="['cat']"))
    assert predictor.head.form == "objectness"  # type: ignore[attr-defined]


def test_what_metadata_do_not_tell_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    predictor = open_predictor(graph(tmp_path / "a.onnx", FORMS["transposed"], side="height", imgsz="[96, 96]"))
    assert (predictor.classes, predictor.imgsz) == (("class0", "class1", "class2"), 96)
    assert "takes images of any size: 96 px are used" in caplog.text
    assert "does not name its classes" in caplog.text


@pytest.mark.parametrize(
    ("output", "more", "message"),
    [
        (np.zeros((1, 40, 252)), {"names": NAMES}, r"gives output0 \(1, 40, 252\)\..*with the 3 classes that it names"),
        (np.zeros((1, 67, 8, 8)), {}, r"gives output0 \(1, 67, 8, 8\)\..*`yoloslim export .* --like MODEL`"),
        (FORMS["transposed"], {"task": "segment"}, r"made for the task 'segment'; only detectors"),
        (FORMS["transposed"], {"kind": TensorProto.FLOAT16}, r"takes images float16 .*wanted is one input float32"),
        (FORMS["transposed"], {"names": "__import__('os').system('true')"}, r"^$"),
        (FORMS["transposed"], {"names": "(" * 100_000}, r"^$"),
    ],
)
def test_what_cannot_be_run_is_said_without_advice_that_does_not_help(
    output: np.ndarray, more: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = graph(tmp_path / "theirs.onnx", output, **more)  # type: ignore[arg-type]
    if message == "^$":
        assert open_predictor(path).classes[0] == "class0"
        return
    with pytest.raises(DeployError, match=message) as caught:
        open_predictor(path)
    assert "anchors" not in str(caught.value)
    assert "raw heads" not in str(caught.value)
