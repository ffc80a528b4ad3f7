"""Sentences of the report."""

from dataclasses import replace

import pytest

from tests.results.made import finished
from yoloslim.report.tables import comparison_grid
from yoloslim.report.wording import careful, notes, why


@pytest.mark.parametrize(
    ("dense", "half", "said"),
    [
        (
            0.046,
            0.04,
            "Careful: already the baseline finds next to nothing (mAP50 0.046). That is no matter of pruning",
        ),
        (0.8, 0.05, "Careful: this model finds next to nothing (mAP50 0.050); no pruned one is better."),
        (0.8, 0.7, ""),
    ],
)
def test_models_that_find_nothing_are_not_praised(dense: float, half: float, said: str) -> None:
    rows = [finished(0, dense, 2.0), finished(50, half, 1.0)]
    assert careful(rows[1], rows).startswith(said)
    assert bool(careful(rows[1], rows)) == bool(said)
    assert ("Careful" in why(rows[1], rows)) == bool(said)


def test_int8_of_few_images_is_told_apart() -> None:
    every = {"onnxruntime": {"calibration_images": 1}, "openvino": {"calibration_images": 128}, "ncnn": {}}
    npu = {"fp16": {}, "int8": {"calibration_images": 1}, "hybrid": {"calibration_images": 15}}
    rows = [finished(0, 0.8, 2.0), replace(finished(50, 0.7, 1.0), quantized=every, simulated=npu)]
    end = "ranges may be too narrow; a hundred are enough."
    assert [note for note in notes(rows, {}) if "calibrated" in note] == [
        f"int8 of 50 % pruned (onnxruntime, rknn int8) is calibrated on 1 image: {end}",
        f"int8 of 50 % pruned (rknn hybrid) is calibrated on 15 images: {end}",
    ]


def test_classes_that_no_box_was_trained_on_are_told_where_they_count() -> None:
    counts = {"dog": 0, "car": 5, "bird": 0}
    data = {"boxes": {"train": counts, "val": counts, "test": counts | {"dog": 3}}}
    said = "No box of dog was trained on, but the test split has some: they count as 0 in every mean."
    assert said in notes([finished(0, 0.8, 2.0)], data)
    assert said not in notes([finished(0, 0.8, 2.0)], {})


def test_a_latency_that_is_left_out_is_a_dash_and_a_note_says_why_and_what_to_do() -> None:
    left_out = {"map50": 0.77, "backend": "openvino-cpu-int8", "latency_unknown": "of this"}
    half = finished(50, 0.78, 0.8)
    slow = {"latency_ms": 100.0, "fps": 10.0, "latency_other_cores": 1.8, "backend": "pytorch-cpu"}
    half = replace(half, trained=half.trained | slow, quantized={"openvino": left_out})
    (said,) = (note for note in notes([half], {}) if "no latency" in note)
    assert said == (
        "int8 of 50 % pruned has no latency on openvino: of this. To time it again on a quiet machine: "
        "`dvc repro --force --single-item measure_int8@50`."
    )
    grid = comparison_grid([half])
    shown = dict(zip(grid.header, grid.rows[1], strict=True))
    assert [shown[name] for name in ("ms p50", "ms p90", "FPS", "speed-up", "mAP50")] == ["–", "–", "–", "–", "0.770"]
