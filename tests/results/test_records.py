"""Rows from the files that the stages write."""

from pathlib import Path

import pytest

from tests.results.made import measured, put
from yoloslim.deploy.ascend.effects import TITLES
from yoloslim.errors import TrackingError, YoloslimError
from yoloslim.results.records import read_rows


def test_rows_join_what_the_stages_of_a_model_wrote(root: Path) -> None:
    rows = {row.name: row for row in read_rows(root)}
    assert list(rows) == ["baseline", "sparse", "prune@30", "prune@50"]
    half = rows["prune@50"]
    assert (half.percent, half.title, half.backend, half.compiled) == (
        *(50, "50 % pruned", "onnxruntime-cpu"),
        "not_available",
    )
    assert half.metrics() == {
        **{"map50": 0.78, "map50_95": 0.78 * 0.6, "map50_voc07": 0.77, "precision": 0.8, "recall": 0.7},
        **{"params_m": 1.0, "gflops": 4.0, "size_mb": 4.0},
        **{"latency_ms": 4.0, "latency_p90_ms": 4.8, "fps": 250, "speedup": 2.0},
        **{"latency_ms_pytorch": 1000 / 150, "latency_p90_ms_pytorch": 8.0, "fps_pytorch": 150},
        **{"map50_deployed": 0.778, "map50_95_deployed": 0.778 * 0.6, "map50_voc07_deployed": 0.768},
        **{"precision_deployed": 0.8, "recall_deployed": 0.7, "size_mb_deployed": 3.5},
        **{"percent_requested": 50, "percent_effective": 49.6, "certificate_max_diff": 3e-7},
        **{"map50_cut": 0.195, "map50_folded": 0.26, "map50_recalibrated": 0.39, "map50_pruned": 0.39},
        **{"onnx_max_diff": 1e-5, "gflops_padded": 4.5, "clipped_layers": 0, "certificate_folded_max_diff": 2e-14},
        **{f"certificate_cut_head{i}": 1e-14 for i in (1, 2, 3)},
        **{f"certificate_folded_head{i}": 2e-14 for i in (1, 2, 3)},
        **{f"twin_map50_{name}": -0.001 * i for i, name in enumerate(TITLES)},
        "twin_map50_reference": 0.778,
    }
    assert rows["sparse"].metrics()["near_zero"] == 0.45
    assert half.epochs[0] == {
        **{"epoch": 1, "box_loss": 0.1, "obj_loss": 0.1, "cls_loss": 0.1, "loss": 1 - 1 / 6},
        **{"map50": 0.26, "lr": 0.01, "images_per_s": 100},  # no map50_95: the cell is empty
    }


def test_speeds_of_two_runtimes_never_share_a_name(root: Path) -> None:
    rows = {row.name: row.metrics() for row in read_rows(root)}
    assert "fps" not in rows["sparse"]
    assert rows["sparse"]["fps_pytorch"] == 100


def test_stages_that_have_not_run_leave_gaps(root: Path) -> None:
    for file in ("metrics/finetune/50.json", "metrics/export/50.json", "metrics/ascend_eval/50.json"):
        (root / file).unlink()
    (root / "metrics/sparse.json").unlink()
    rows = {row.name: row for row in read_rows(root)}
    assert list(rows) == ["baseline", "prune@30", "prune@50"]
    assert rows["prune@50"].number("map50") is None
    assert rows["prune@50"].number("params_m") == 1.0
    assert rows["prune@50"].backend == ""
    assert rows["prune@50"].metrics()["map50_pruned"] == 0.39


def test_percents_taken_out_of_params_are_left_out(root: Path) -> None:
    assert [row.name for row in read_rows(root, [50, 90])] == ["baseline", "sparse", "prune@50"]


def test_an_empty_folder_has_no_rows(tmp_path: Path) -> None:
    assert read_rows(tmp_path) == []


def test_the_key_follows_numbers_and_model(root: Path) -> None:
    before = {row.name: row.key() for row in read_rows(root)}
    assert before == {row.name: row.key() for row in read_rows(root)}
    (root / "models/sparse/model.safetensors").write_bytes(b"other weights")
    (root / "metrics/baseline.json").write_text('{"map50": 0.5}')
    after = {row.name: row.key() for row in read_rows(root)}
    assert {name for name in before if before[name] != after[name]} == {"baseline", "sparse"}


def test_broken_files_are_named(root: Path) -> None:
    (root / "plots/sparse/epochs.csv").write_text("epoch,loss\n1,much\n")
    with pytest.raises(TrackingError, match=r"epochs\.csv is not the table of numbers"):
        read_rows(root)
    (root / "metrics/baseline.json").write_text("[]")
    with pytest.raises(TrackingError, match=r"baseline\.json holds a list"):
        read_rows(root)
    (root / "metrics/baseline.json").write_text("{")
    with pytest.raises(YoloslimError, match="not valid JSON"):
        read_rows(root)


def test_zeroed_weights_are_a_row_at_the_end_named_by_their_share(root: Path) -> None:
    put(root / "metrics/unstructured.json", measured(0.7, 2.0, "pytorch-cpu", 100) | {"zero_percent": 30.0})
    row = read_rows(root)[-1]
    assert (row.name, row.kind, row.title, row.backend) == ("unstructured", "unstructured", "30 % zeros", "pytorch-cpu")
    assert row.metrics()["zero_percent"] == 30


def test_a_sparse_model_that_is_the_baseline_again_is_no_row(root: Path) -> None:
    put(root / "models/sparse/history.json", {"kept_epoch": 0, "penalty": "none", "epochs": []})
    assert [row.name for row in read_rows(root)] == ["baseline", "prune@30", "prune@50"]


def test_the_control_stands_behind_the_baseline_while_params_ask_for_it(root: Path) -> None:
    put(root / "metrics/control/dense.json", measured(0.83, 2.0, "pytorch-cpu", 100))
    put(root / "models/control/dense/history.json", {"kept_epoch": 1, "training": "key", "epochs": []})
    rows = read_rows(root, [30], ["dense"])
    assert [row.name for row in rows] == ["baseline", "control", "sparse", "prune@30"]
    assert (rows[1].title, rows[1].number("map50"), rows[1].training) == ("dense, trained on", 0.83, "key")
    assert [row.name for row in read_rows(root, [30], [])] == ["baseline", "sparse", "prune@30"]


def test_times_of_the_one_session_take_the_place_of_each_models_own(root: Path) -> None:
    own = {row.name: dict(row.deployed) for row in read_rows(root)}
    times = {"baseline": {"latency_ms": 9.0, "speedup": 1.0}, "30": {"latency_ms": 6.0, "speedup": 1.5}}
    put(root / "metrics/timing.json", {"backend": "onnxruntime-cpu", "models": times})
    int8 = {"latency_ms": 5.0, "latency_p90_ms": 5.0, "speedup": 3.0}
    put(root / "metrics/quantize/30.json", {"openvino": int8})
    rows = {row.name: row for row in read_rows(root)}
    assert rows["prune@30"].quantized["openvino"]["latency_ms"] == 3.0
    found = {name: row.deployed for name, row in rows.items()}
    assert found["baseline"] == own["baseline"] | times["baseline"]
    assert found["prune@30"] == own["prune@30"] | times["30"]
    assert found["prune@50"] == own["prune@50"]  # was not there when all were timed
    put(root / "metrics/timing.json", {"backend": "ascend", "models": times})
    assert {row.name: row.deployed for row in read_rows(root)} == own  # another runtime's times say nothing here
