"""What was found before suppression gives the same evaluation as the network, whatever is suppressed afterwards."""

from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.test_evaluate import ANCHORS, IMGSZ, STRIDES, make_set
from yoloslim.errors import ConfigError
from yoloslim.evaluation import remembered
from yoloslim.evaluation.evaluate import Evaluation, evaluate
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.evaluation.remembered import evaluate_remembered
from yoloslim.heads import AnchorFreeHead, AnchorHead, Head

LOOSE = NmsOptions(conf_thres=0.01, iou_thres=0.7)


class Noise:
    """A predictor that finds something everywhere, the same on the same image."""

    backend, preprocessing = "noise", "none"
    classes, imgsz = ("a", "b"), IMGSZ
    takes_any_shape = False

    def __init__(self, head: Head | None = None) -> None:
        self.head: Head = head or AnchorHead(strides=STRIDES, anchors=ANCHORS)
        self.calls = 0

    def set_threads(self, threads: int) -> None: ...

    def predict(self, images: np.ndarray) -> list[np.ndarray]:
        self.calls += 1
        shapes = self.head.outputs(2, IMGSZ).values()
        rng = [np.random.default_rng(int(picture[0, 0, 0])) for picture in images]
        return [np.stack([each.normal(0, 2, shape).astype(np.float32) for each in rng]) for shape in shapes]


def same(a: Evaluation, b: Evaluation) -> None:
    assert (a.metrics, a.per_class, a.confidence) == (b.metrics, b.per_class, b.confidence)
    for rows, others in zip(a.detections, b.detections, strict=True):
        np.testing.assert_array_equal(rows, others)


@pytest.mark.parametrize("multi_label", [True, False])
def test_other_thresholds_of_overlap_need_no_network(tmp_path: Path, multi_label: bool) -> None:
    eval_set, noise, file = make_set([2, 0, 1, 2, 1]), Noise(), tmp_path / "kept" / "a.npz"
    for iou, most in ((0.7, 300), (0.3, 300), (0.3, 5), (0.9, None), (1.0, None)):
        options = NmsOptions(0.01, iou, most, multi_label)
        found = evaluate_remembered(noise, eval_set, options, 2, file=file, about="a")
        same(found, evaluate(Noise(), eval_set, options, 2))
        assert noise.calls == 3, "five images, two at once, the first time only"


def test_a_head_that_finds_each_object_once_is_never_suppressed(tmp_path: Path) -> None:
    eval_set, noise = make_set([2, 1]), Noise(AnchorFreeHead(strides=STRIDES, bins=4, answers="one_to_one"))
    for most in (300, 7):
        options = NmsOptions(0.01, max_det=most)
        found = evaluate_remembered(noise, eval_set, options, file=tmp_path / "a.npz", about="a")
        same(found, evaluate(noise, eval_set, options))


def test_it_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for _ in range(2):
        assert not caplog.records
        evaluate_remembered(Noise(), make_set([1]), LOOSE, file=tmp_path / "a.npz", about="models/finetune/50")
    assert "models/finetune/50: boxes before suppression as found on 20" in caplog.text


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY"])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    eval_set, noise, file = make_set([2, 1]), Noise(), tmp_path / "a.npz"
    file.write_bytes(content)
    same(evaluate_remembered(noise, eval_set, LOOSE, file=file, about="a"), evaluate(Noise(), eval_set, LOOSE))
    evaluate_remembered(noise, eval_set, LOOSE, file=file, about="a")
    assert noise.calls == 1


def test_a_cut_file_and_one_of_another_set_are_not_used(tmp_path: Path) -> None:
    noise, file = Noise(), tmp_path / "a.npz"
    evaluate_remembered(noise, make_set([2, 1]), LOOSE, file=file, about="a")
    evaluate_remembered(noise, make_set([2, 1, 1]), LOOSE, file=file, about="a")
    assert noise.calls == 2
    file.write_bytes(file.read_bytes()[:-200])
    evaluate_remembered(noise, make_set([2, 1, 1]), LOOSE, file=file, about="a")
    assert noise.calls == 3


def test_too_many_candidates_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST_ROWS", 100)
    eval_set, file = make_set([2, 0, 1, 2, 1]), tmp_path / "a.npz"
    same(evaluate_remembered(Noise(), eval_set, LOOSE, 1, file=file, about="a"), evaluate(Noise(), eval_set, LOOSE, 1))
    assert not file.exists()


def test_what_was_not_used_for_long_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / f"{name}.npz" for name in "abc"]
    for file in files[:2]:
        evaluate_remembered(Noise(), make_set([1]), LOOSE, file=file, about="a")
    monkeypatch.setattr(remembered, "FOLDER_BYTES", 2 * files[0].stat().st_size)
    evaluate_remembered(Noise(), make_set([1]), LOOSE, file=files[0], about="a")  # is the one used last
    evaluate_remembered(Noise(), make_set([1]), LOOSE, file=files[2], about="a")
    assert [file.exists() for file in files] == [True, False, True]


def test_a_disk_that_refuses_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    eval_set, file = make_set([1]), tmp_path / "file" / "a.npz"
    same(evaluate_remembered(Noise(), eval_set, LOOSE, file=file, about="a"), evaluate(Noise(), eval_set, LOOSE))


def test_what_does_not_fit_together_is_an_error_although_it_is_known(tmp_path: Path) -> None:
    eval_set, noise, file = make_set([1]), Noise(), tmp_path / "a.npz"
    evaluate_remembered(noise, eval_set, LOOSE, file=file, about="a")
    noise.classes = ("a", "c")
    with pytest.raises(ConfigError, match="'c'"):
        evaluate_remembered(noise, eval_set, LOOSE, file=file, about="a")
