"""Tables and sentences."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.report.page.conftest import page_of
from tests.results.made import build, finished, put
from yoloslim.report.tables import (
    comparison_grid,
    comparison_table,
    disturbance,
    npu_grid,
    npu_twin_grid,
    pruning_grid,
    pytorch_grid,
    recommendation,
    twin_grid,
)
from yoloslim.results.choice import recommended
from yoloslim.results.records import Row, read_rows


def test_the_verdict_tells_what_was_gained_and_lost() -> None:
    rows = [finished(0, 0.8, 2.0), finished(50, 0.78, 0.82, fps=160)]
    assert recommendation(rows[1], rows) == (
        "50 % pruned and finetuned: mAP50 0.780 (baseline 0.800), 41 % of the parameters, "
        "1.60x the speed (onnxruntime-cpu)."
    )
    rows[1].deployed["latency_other_cores"] = 1.6  # type: ignore[index]
    assert "1.60x the speed (onnxruntime-cpu, timed while other programs used 1.6 cores)." in recommendation(
        rows[1], rows
    )


def test_speed_that_was_not_timed_in_turn_with_the_baseline_is_not_compared() -> None:
    rows = [finished(0, 0.8, 2.0), finished(50, 0.78, 0.82)]
    del rows[1].deployed["speedup"]  # type: ignore[attr-defined]
    assert "speed" not in recommendation(rows[1], rows)


def test_a_model_without_finetuning_is_not_called_finetuned() -> None:
    row = Row(name="prune@50", kind="pruned", percent=50, pruned={"map50": 0.2, "params_m": 1.0})
    assert recommendation(row, [finished(0, 0.8, 2.0), row]).startswith(
        "50 % pruned: mAP50 – (baseline 0.800), 50 % of"
    )
    assert recommendation(row, [row]) == "50 % pruned: mAP50 –."


def test_mean_and_spread_over_seeds_are_shown_where_there_are_several() -> None:
    found = {"repeats": 3, "map50_mean": 0.79, "map50_std": 0.004, "map50_95_mean": 0.5, "map50_95_std": 0.01}
    row = finished(50, 0.78, 0.82)
    rows = [finished(0, 0.8, 2.0), replace(row, trained=row.trained | found, quantized={"openvino": row.deployed})]
    grid = comparison_grid(rows)
    assert grid.header[-4:] == ("seeds", "mAP50 of seeds", "mAP50-95 of seeds", "measured with")
    assert [line[-4:-1] for line in grid.rows] == [
        ("–", "–", "–"),
        ("3", "0.790 ± 0.004", "0.500 ± 0.010"),
        ("3", "–", "–"),
    ]
    assert rows[1].metrics()["map50_std"] == 0.004
    assert "seeds" not in comparison_grid(rows[:1]).header


def test_every_speed_stands_beside_its_backend(root: Path) -> None:
    grid = comparison_grid(read_rows(root))
    assert [(line[0], line[-3], line[-1]) for line in grid.rows] == [
        ("baseline", "150", "onnxruntime-cpu"),
        ("sparse", "100", "pytorch-cpu"),
        ("30 % pruned", "210", "onnxruntime-cpu"),
        ("50 % pruned", "250", "onnxruntime-cpu"),
    ]
    assert grid.markdown().splitlines()[-1] == (
        "| 50 % pruned | 0.778 | 0.467 | 0.768 | 0.800 | 0.700 | 1.00 | 4.00 | 3.5 | 4.0 | 4.8 | 250 "
        "| 2.00 | onnxruntime-cpu |"
    )


def test_the_way_from_cut_to_deployment(root: Path) -> None:
    assert pruning_grid(read_rows(root)).rows[1] == (
        *("50", "49.6", "0.195", "0.260", "0.390", "0.780", "0.778", "3.0e-07", "1.0e-05"),
        "not installed",
    )


def test_a_wide_terminal_sees_images_a_second_too(root: Path) -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(comparison_table(read_rows(root), width=120))
    lines = [line.strip() for line in console.export_text().splitlines()]
    last = [line for line in lines if line][-1]
    assert last.split() == ["50", "%", "pruned", "0.778", "0.467", "1.00", "4.0", "250", "2.00", "onnxruntime-cpu"]


def test_what_a_board_would_change_is_told_in_points_one_effect_at_a_time(root: Path) -> None:
    grid = twin_grid(read_rows(root))
    assert grid.header == (
        *("model", "images", "mAP50", "AIPP colour", "top-left padding", "green fill", "resize", "fp16"),
        *("single label", "all together"),
    )
    assert [line[0] for line in grid.rows] == ["baseline", "30 % pruned", "50 % pruned"]
    assert grid.rows[0][3:] == ("+0.0", "-0.1", "-0.2", "-0.3", "-0.4", "-0.5", "-0.6")


def test_what_an_npu_would_change_has_a_line_for_each_precision() -> None:
    twin = {"reference": {"map50": 0.843, "images": 100.0}, "board": {"map50": 0.0006}}
    int8 = twin | {"weights": {"map50": -0.0007}, "activations": {"map50": -0.0002}, "board": {"map50": -0.0211}}
    found = {"chip": "rk3588", "ranges": "training"}
    simulated = {"fp16": {"chip": "rk3588", "twin": twin}, "int8": found | {"twin": int8}, "hybrid": found}
    grid = npu_twin_grid([finished(0, 0.8, 2.0), replace(finished(50, 0.84, 0.8), simulated=simulated)])
    assert grid.header[4:] == ("mAP50", "weights in 8 bits", "activations in 8 bits", "all together")
    assert grid.rows == (
        ("50 % pruned", "fp16", "rk3588", "100", "0.843", "–", "–", "+0.1"),
        ("50 % pruned", "int8 from training", "rk3588", "100", "0.843", "-0.1", "+0.0", "-2.1"),
    )


def test_predicted_changes_are_metrics_of_the_run(root: Path) -> None:
    metrics = read_rows(root)[0].metrics()
    assert metrics["twin_map50_fp16"] == pytest.approx(-0.004)
    assert "twin_map50_reference" in metrics


def test_int8_versions_follow_their_model_and_are_never_recommended() -> None:
    rows = [finished(0, 0.8, 2.0), finished(50, 0.79, 0.8)]
    twin = {"map50": 0.785, "latency_ms": 2.5, "speedup": 4.2, "size_mb": 0.9, "backend": "onnxruntime-cpu-int8"}
    rows[1] = replace(rows[1], quantized={"onnxruntime": twin})
    grid = comparison_grid(rows)
    assert [line[0] for line in grid.rows] == ["baseline", "50 % pruned", "50 % pruned, int8"]
    last = dict(zip(grid.header, grid.rows[-1], strict=True))
    assert (last["mAP50"], last["ms p50"], last["speed-up"]) == ("0.785", "2.5", "4.20")
    assert (last["params M"], last["measured with"]) == ("0.80", "onnxruntime-cpu-int8")
    assert recommended(rows) is rows[1]
    assert rows[1].metrics()["map50_int8_onnxruntime"] == 0.785
    assert rows[1].metrics()["latency_ms_int8_onnxruntime"] == 2.5
    assert comparison_table(rows).row_count == 3
    trained = replace(rows[1], quantized={"onnxruntime": twin | {"ranges": "training"}})
    assert comparison_grid([trained]).rows[1][0] == "50 % pruned, int8 from training"


def test_times_that_other_programs_disturbed_are_marked() -> None:
    trained = {"map50": 0.7, "latency_ms": 12.0, "fps": 83.0, "backend": "pytorch-cpu", "latency_other_cores": 0.05}
    quiet = Row("baseline", "baseline", trained=trained)
    alone = Row("prune@50", "pruned", 50, trained=trained, deployed=trained | {"latency_ms": 9.0})
    beside = Row("prune@70", "pruned", 70, trained=trained, deployed=trained | {"latency_other_cores": 1.31})
    assert disturbance([quiet, alone]) is None
    assert (
        disturbance([quiet, beside])
        == "* timed while other programs used the machine: times are too long, speed-ups uncertain"
    )
    column = comparison_grid([quiet]).header.index("ms p50")
    assert [line[column] for line in comparison_grid([quiet, alone, beside]).rows] == ["12.0", "9.0", "12.0*"]
    assert [line[column] for line in pytorch_grid([quiet, alone, beside]).rows] == ["12.0"] * 3
    assert beside.metrics()["latency_other_cores"] == 1.31
    faster = [replace(row, deployed=row.deployed | {"speedup": 1.5}) for row in (alone, beside)]
    cells = [line[comparison_grid(faster).header.index("speed-up")] for line in comparison_grid(faster).rows]
    assert cells == ["1.50", "1.50*"]
    assert comparison_grid([beside]).rows[0][comparison_grid([beside]).header.index("speed-up")] == "–"
    table = comparison_table([quiet, beside])
    assert table.caption == disturbance([quiet, beside])


def test_80_columns_show_every_number_whole_and_a_long_backend_in_two_lines() -> None:
    rows = [finished(0, 0.8, 2.0), finished(50, 0.79, 0.8)]
    dense = replace(rows[0], name="control", kind="control")
    marked = {"latency_ms": 1234.5, "fps": 1038.0, "latency_other_cores": 1.2, "backend": "onnxruntime-cpu-int8"}
    rows = [rows[0], dense, replace(rows[1], deployed=rows[1].deployed | marked)]
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(comparison_table(rows, width=80))
    text = console.export_text()
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "dense, trained on" in text
    assert "1234.5*" in text
    assert [line[65:].strip() for line in text.splitlines()[3:7]] == [
        *("onnxruntime-cpu", "onnxruntime-cpu", "onnxruntime-cpu", "-int8"),
    ]


def test_a_line_a_model_and_precision_of_an_npu(root: Path) -> None:
    found = {"map50": 0.7812, "map50_95": 0.4, "images": 128, "size_mb": 1.46, "layers_off_npu": 0, "chip": "rk3588"}
    put(root / "metrics/rknn_eval/50.json", {"fp16": found, "int8": found | {"map50": 0.77, "size_mb": 0.9}})
    put(root / "metrics/rknn_eval/30.json", {"int8": found | {"ranges": "training"}})
    rows = read_rows(root)
    assert npu_grid(rows).rows == (
        ("30 % pruned", "int8 from training", "rk3588", "128", "0.781", "0.400", "1.5", "0"),
        ("50 % pruned", "fp16", "rk3588", "128", "0.781", "0.400", "1.5", "0"),
        ("50 % pruned", "int8", "rk3588", "128", "0.770", "0.400", "0.9", "0"),
    )
    row = next(row for row in rows if row.name == "prune@50")
    assert (row.metrics()["map50_rknn_int8"], row.metrics()["size_mb_rknn_fp16"]) == (0.77, 1.46)
    assert row.key() != replace(row, simulated={}).key()
    page = page_of(root)
    assert "Compiled for a Rockchip NPU" in page
    assert "Compiled for a Rockchip NPU" not in page_of(build(root / "other"))
