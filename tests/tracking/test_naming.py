"""Names in MLflow."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.results.made import PARAMS
from yoloslim.results.records import read_rows
from yoloslim.tracking.naming import curve_name, data_set, ranges_tags, run_metrics, run_params


def test_params_have_the_same_keys_in_every_run_and_percent_is_the_first_of_the_alphabet() -> None:
    baseline, half = (run_params(percent, PARAMS | {"sweep": {"low": 1}}) for percent in (0, 50))
    assert half == baseline | {"percent": "50"}
    assert min(half) == "percent"
    assert half["yaml.sparse.rate"] == "0.01"
    assert not {"yaml.data.workers", "yaml.sweep.low", "yaml.percents"} & set(half)


def test_no_metric_stands_before_map50_in_the_alphabet_or_in_order(root: Path) -> None:
    row = next(row for row in read_rows(root) if row.name == "prune@50")
    int8 = {"map50": 0.7, "fps": 9}
    twin = {"reference": {"map50": 0.73}, "board": {"map50": -0.02}}
    simulated = {"hybrid": {"map50": 0.71, "size_mb": 1.5, "chip": "rk3588", "twin": twin}}
    metrics = run_metrics(replace(row, quantized={"onnxruntime": int8}, simulated=simulated))
    assert min(metrics) == next(iter(metrics)) == "map50"
    assert {curve_name(name) for name in ("loss", "map50", "gamma_p50")} > {"train/loss", "val/map50"}
    assert all(curve_name(name) > "map50" for name in ("loss", "lr", "map50", "gamma_p50", "near_zero"))
    compared = [name for name in metrics if "/" not in name]
    assert compared == [
        *("map50", "map50_95", "params_m", "size_mb", "speed_fps", "speed_latency_ms", "speedup"),
        "percent",
    ]
    assert metrics["quantized/onnxruntime_fps"] == 9
    sources = {"onnxruntime": int8 | {"ranges": "training"}, "ncnn": int8 | {"ranges": "calibration"}, "litert": int8}
    row = replace(row, quantized=sources, simulated={"int8": {"ranges": "training"}, "fp16": {"map50": 0.7}})
    assert ranges_tags(row) == {
        "ranges.onnxruntime": "training",
        "ranges.ncnn": "calibration",
        "ranges.rknn_int8": "training",
    }
    assert (metrics["rknn/hybrid_map50"], metrics["rknn/hybrid_size_mb"]) == (0.71, 1.5)
    assert (metrics["twin/rknn_hybrid_map50_reference"], metrics["twin/rknn_hybrid_map50_board"]) == (0.73, -0.02)
    assert metrics["prune/certificate_max_diff"] == 3e-7
    assert metrics["twin/map50_fp16"] == pytest.approx(-0.004)


def test_accuracy_and_speed_of_a_run_are_of_one_backend(root: Path) -> None:
    rows = {row.name: run_metrics(row) for row in read_rows(root)}
    assert (rows["prune@50"]["map50"], rows["prune@50"]["speed_fps"]) == (0.778, 250)
    assert (rows["prune@50"]["pytorch/map50"], rows["prune@50"]["pytorch/fps"]) == (0.78, 150)
    assert "speed_fps" not in rows["sparse"]  # never deployed, so that its speed is PyTorch's alone


@pytest.mark.parametrize(
    ("column", "name"),
    [("map50", "val/map50"), ("loss", "train/loss"), ("gamma_p50", "scales/p50"), ("near_zero", "scales/near_zero")],
)
def test_curves_are_grouped_by_what_they_show(column: str, name: str) -> None:
    assert curve_name(column) == name


def test_the_data_set_has_the_beginning_of_dvcs_hash_as_its_digest() -> None:
    found = data_set({"data": "0123456789abcdef0123456789abcdef.dir"}, {"data": {"source": "scenes"}})
    assert found is not None
    assert (found.dataset.name, found.dataset.digest) == ("scenes", "01234567")
    assert data_set({}, {}) is None
