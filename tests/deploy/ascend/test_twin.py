from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from tests.tiny import shake_norms, tiny_detector
from yoloslim.boxes import fit, letterbox
from yoloslim.data.voc import VocSplit, annotation_from
from yoloslim.deploy.ascend import twin
from yoloslim.deploy.ascend.twin import TITLES, chip_fit, place, predict_board
from yoloslim.deploy.board import twin as board_twin
from yoloslim.deploy.board.half import save_half
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.manifest import Manifest, load_manifest
from yoloslim.evaluation.nms import NmsOptions


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    model = tiny_detector()
    shake_norms(model)
    export_model(model.eval(), folder)
    return folder


@pytest.fixture(scope="module")
def manifest(exported: Path) -> Manifest:
    return load_manifest(exported)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> VocSplit:
    root = tmp_path_factory.mktemp("voc")
    (root / "JPEGImages").mkdir()
    ids = tuple(f"{i}" for i in range(6))
    rng = np.random.default_rng(0)
    for name in ids:
        small = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        cv2.imwrite(str(root / "JPEGImages" / f"{name}.jpg"), cv2.resize(small, (90, 61)))
    note = annotation_from(90, 61, [[5, 5, 60, 50]], [0], [False], [False])
    return VocSplit(root, "test", ("a", "b"), ids, (note,) * 6)


@pytest.mark.parametrize(
    ("width", "height", "size", "expected"),
    [
        (500, 375, 512, (512, 384)),  # 384 exactly
        (500, 333, 512, (512, 342)),  # 340.99 -> 341 -> up to even
        (333, 500, 512, (342, 512)),
        (500, 251, 250, (250, 126)),  # 125.5 -> 126, where Python's round gives 126, too
        (500, 249, 250, (250, 126)),  # 124.5 -> 125 -> 126, where Python's round gives 124
        (500, 500, 64, (64, 64)),
        (4000, 3, 64, (64, 2)),  # never nothing
    ],
)
def test_the_chips_sizes_are_rounded_half_up_and_then_to_even(
    width: int, height: int, size: int, expected: tuple[int, int]
) -> None:
    box = chip_fit(fit(width, height, size, "topleft"), width, height)
    assert (box.width, box.height, box.left, box.top) == (*expected, 0, 0)
    assert box.scale == size / max(width, height)


def test_placement_changes_one_thing_at_a_time(manifest: Manifest) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)  # no resizing at 64 px
    plain, box = place(picture, manifest, False, False, False)
    np.testing.assert_array_equal(plain, letterbox(picture, 64)[0])
    assert box.top == 16
    moved, box = place(picture, manifest, True, False, False)
    assert (box.left, box.top) == (0, 0)
    np.testing.assert_array_equal(moved[:32], picture)
    assert (moved[32:] == 114).all()
    green, _ = place(picture, manifest, False, True, False)
    np.testing.assert_array_equal(green[16:48], picture)
    assert (green[:16] == (0, 135, 0)).all()
    everything, _ = place(picture, manifest, True, True, True)
    np.testing.assert_array_equal(everything[:32], picture)
    assert (everything[32:] == (0, 135, 0)).all()


def test_the_chips_resizer_does_not_average(manifest: Manifest) -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::4] = 255  # one column of four
    ours, _ = place(stripes, manifest, False, False, False)
    chip, _ = place(stripes, manifest, False, False, True)
    assert set(np.unique(ours)) == {64}  # the mean of 255, 0, 0, 0
    assert set(np.unique(chip)) == {0}  # halfway between the second and third column of each four


def test_half_precision_holds_nothing_but_half_precision_numbers(exported: Path, tmp_path: Path) -> None:
    save_half(exported / "model.onnx", tmp_path / "half.onnx")
    pixels = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    full, half = (
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"images": pixels})
        for path in (exported / "model.onnx", tmp_path / "half.onnx")
    )
    for a, b in zip(full, half, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_array_equal(b, b.astype(np.float16))  # also after ONNX Runtime's own optimisation
        assert 1e-5 < np.abs(a - b).max() < 0.05


def test_half_precision_of_one_convolution_is_computed_by_hand(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    weight = np.float32([[[[0.1]], [[0.2]], [[0.3]]]])
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, c, 1, 1]) for n, c in (("x", 3), ("y", 1)))
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(weight, "w")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), tmp_path / "g.onnx")
    save_half(tmp_path / "g.onnx", tmp_path / "h.onnx")
    value = np.float32([[[[1 / 3]], [[1 / 7]], [[1 / 9]]]])
    session = onnxruntime.InferenceSession(str(tmp_path / "h.onnx"), providers=["CPUExecutionProvider"])
    halves = value.ravel().astype(np.float16).astype(np.float32), weight.ravel().astype(np.float16).astype(np.float32)
    assert session.run(None, {"x": value})[0].ravel()[0] == np.float32(np.float16(np.dot(*halves)))


def test_every_effect_is_measured_and_squares_are_not_run_twice(
    exported: Path, split: VocSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = NmsOptions(conf_thres=1e-5)
    result = predict_board(exported, split, options, images=4, threads=1)
    assert list(result) == ["reference", *TITLES]
    assert result["reference"]["images"] == 4
    for name in TITLES:
        assert result[name].keys() == {"map50", "map50_95"}
        assert -1 <= result[name]["map50"] <= 1
    runs: list[int] = []
    real = twin.OnnxPredictor.predict
    monkeypatch.setattr(twin.OnnxPredictor, "predict", lambda self, x: runs.append(1) or real(self, x))
    monkeypatch.setattr(board_twin, "read_image", lambda path: np.full((64, 64, 3), int(path.stem) * 9, np.uint8))
    predict_board(exported, split, options, images=4, threads=1)
    assert len(runs) == 4 * 4  # plain, colour, fp16, both: padding and resizing change nothing


def test_a_device_that_is_fed_rgb_is_resized_and_filled_by_opencv(
    exported: Path, split: VocSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: set[tuple[bool, bool]] = set()
    real = twin.place
    monkeypatch.setattr(
        twin, "place", lambda p, m, top, green, chip: placed.add((green, chip)) or real(p, m, top, green, chip)
    )
    options = NmsOptions(conf_thres=1e-5)
    result = predict_board(exported, split, options, 3, 1, source="rgb")
    assert list(result) == ["reference", *TITLES]
    for name in ("green_fill", "resize"):
        assert result[name] == {"map50": 0.0, "map50_95": 0.0}
    assert placed == {(False, False)}
    placed.clear()
    predict_board(exported, split, options, 3, 1)
    assert placed == {(False, False), (True, False), (False, True), (True, True)}


def test_the_twin_repeats_itself(exported: Path, split: VocSplit) -> None:
    options = NmsOptions(conf_thres=1e-5)
    assert predict_board(exported, split, options, 3, 1) == predict_board(exported, split, options, 3, 3)
