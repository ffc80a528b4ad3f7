"""Tables of what was cut, from an account made by hand."""

from dataclasses import replace
from typing import Any

import pytest

from yoloslim.report.cuts import certificate_grid, layers_grid, layers_markdown, ranked_by, totals_grid
from yoloslim.results.records import Row

REPORT: dict[str, Any] = {
    **{"requested_percent": 50, "effective_percent": 48.4, "percent_limit": 45.2, "clipped": {"model.1.conv": 3}},
    "removed_units": ["model.4.m.0"],
    "before": {"params_m": 1.8, "gflops": 0.26, "gflops_padded": 0.36, "channels": 48},
    "after": {"params_m": 0.5, "gflops": 0.16, "gflops_padded": 0.27, "channels": 24},
    "layers": [
        {"path": "model.1.conv", "kind": "convolution", "kept": 8, "total": 32, "params": 3456, "macs": 5_000_000}
        | {"macs_padded": 7_500_000},
        {"path": "model.1.bn", "kind": "batchnorm", "kept": 8, "total": 32, "params": 16, "macs": 0, "macs_padded": 0},
        {"path": "model.24.m.0", "kind": "convolution", "kept": 75, "total": 75, "params": 100, "macs": 1_000_000}
        | {"macs_padded": 1_000_000},
    ],
    "importance": "l2",
    "normalise": "mean",
    "certificate": {
        **{"cut": [1e-14, 2e-14], "folded": [3e-15, 4e-15], "border": [0.3, 0.4], "inexact": [], "images": [2, 8]},
        **{"tolerance": 1e-4, "max_cut": 2e-14, "max_folded": 4e-15},
    },
}
ROW = Row("prune@50", "pruned", 50, report=REPORT)


def test_totals_say_what_was_asked_and_what_came_of_it() -> None:
    assert dict(zip(totals_grid([ROW]).header, totals_grid([ROW]).rows[0], strict=True)) == {
        **{
            "model": "50 % pruned",
            "ranked by": "l2, mean",
            "asked %": "50",
            "really cut %": "48.4",
            "limit %": "45.2",
            "layers clipped": "1",
        },
        **{"channels": "48 → 24", "units out": "1", "params M": "1.800 → 0.500", "GFLOPs": "0.260 → 0.160"},
        "padded to 16": "0.360 → 0.270",
    }


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"importance": "taylor", "normalise": "none", "cost_power": 1.0}, "taylor per cost"),
        ({"importance": "l2", "normalise": "mean", "cost_power": 0.5}, "l2, mean per cost^0.5"),
        ({"importance": "gamma", "normalise": "none", "cost_power": 0.0}, "gamma"),
        ({"importance": "gamma"}, "gamma"),
    ],
)
def test_what_ranked_is_told_with_all_that_was_done_to_scores(settings: dict[str, Any], told: str) -> None:
    assert ranked_by(settings) == told


def test_layers_count_their_norm_and_what_they_were_given_back() -> None:
    assert layers_grid(ROW).rows == (
        ("1.conv", "8", "32", "25", "3 472", "10.00", "15.00", "3"),
        ("24.m.0", "75", "75", "100", "100", "2.00", "2.00", ""),
    )
    none = layers_grid(Row("prune@50", "pruned", 50, report=REPORT | {"clipped": {}}))
    assert none.header[-1] == "padded to 16"
    assert none.rows[0] == ("1.conv", "8", "32", "25", "3 472", "10.00", "15.00")
    assert layers_markdown(ROW).startswith("## 50 % pruned\n\n| layer |")


def test_proof_has_every_head_with_and_without_folding() -> None:
    grid = certificate_grid([ROW])
    assert grid.header == ("model", "compared", "head 1", "head 2", "allowed", "images")
    assert [line[1:5] for line in grid.rows] == [
        ("cut = masked", "1.0e-14", "2.0e-14", "1.0e-04"),
        ("folded = frozen", "3.0e-15", "4.0e-15", "1.0e-04"),
        ("folded, zero padding", "3.0e-01", "4.0e-01", ""),
    ]
    assert grid.rows[0][5] == "2 random, 8 real"


def test_proof_that_cannot_be_exact_says_so_and_allows_anything() -> None:
    inexact = REPORT | {"certificate": REPORT["certificate"] | {"inexact": ["add_3"]}}
    line = certificate_grid([Row("prune@50", "pruned", 50, report=inexact)]).rows[1]
    assert line[1] == "folded = frozen (not exact here)"
    assert line[4] == ""


def test_numbers_of_the_cut_go_to_mlflow() -> None:
    metrics = ROW.metrics()
    assert metrics["gflops_padded"] == 0.27
    assert metrics["clipped_layers"] == 1
    assert metrics["certificate_folded_max_diff"] == 4e-15
    assert metrics["certificate_cut_head2"] == 2e-14


def test_models_without_a_cut_have_no_line() -> None:
    rows = [Row("baseline", "baseline")]
    assert totals_grid(rows).rows == certificate_grid(rows).rows == ()


def test_of_a_cut_by_latency_the_budget_stands_beside_what_was_predicted_and_measured() -> None:
    found = {"target_ms": 2.0, "predicted_ms": 2.44, "runtime": "ncnn", "version": "1.0"}
    report = {"after": {"channels": 9}, "latency": found, "latency_ms": 1.971}
    rows = [Row("prune@30", "pruned", 30, report={"after": {}}), Row("prune@50", "pruned", 50, report=report)]
    grid = totals_grid([rows[1], replace(rows[1], name="prune@70", report={"after": {"channels": 3}})])
    assert grid.header[-4:] == ("ms asked", "ms by the table", "ms measured", "measured with")
    assert [line[-4:] for line in grid.rows] == [("2.00", "2.44", "1.97", "ncnn 1.0"), ("–", "–", "–", "–")]
    assert not {"ms asked", "units out"} & set(totals_grid(rows[:1]).header)


@pytest.mark.parametrize(
    ("found", "asked"),
    [({}, "50"), ({"flops": {"gap": 0.0}}, "50 of the FLOPs"), ({"latency": {"target_ms": 2.0}}, "50 of the latency")],
)
def test_a_percent_of_something_else_is_not_taken_for_one_of_the_channels(
    found: dict[str, dict[str, Any]], asked: str
) -> None:
    named = {name: each | {"runtime": "ncnn", "version": "1"} for name, each in found.items()}
    grid = totals_grid([replace(ROW, report=ROW.report | named)])
    assert grid.rows[0][grid.header.index("asked %")] == asked
