"""Fronts and scales."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.results.made import finished
from yoloslim.report.page.details import details
from yoloslim.report.page.points import Point, comparable, front, points_of
from yoloslim.report.page.tradeoff import _label_places, pareto
from yoloslim.results.links import RunLinks


def point(name: str, cost: float, map50: float, state: str = "finetuned", backend: str = "a") -> Point:
    return Point(name, name, state, 50, {"map50": map50, "latency_ms": cost, "params_m": cost}, backend)


POINTS = [point("dense", 4, 0.8, "dense"), point("good", 2, 0.8), point("small", 1, 0.7), point("worse", 3, 0.6)]


def test_the_front_holds_what_nothing_beats_from_cheap_to_dear() -> None:
    assert [p.name for p in front(POINTS, "params_m")] == ["small", "good"]


def test_latencies_are_compared_on_the_backend_of_the_dense_model() -> None:
    other = point("other", 0.1, 0.9, backend="b")
    assert comparable([other, *POINTS], "latency_ms") == POINTS
    assert comparable([other, *POINTS], "params_m") == [other, *POINTS]
    assert comparable(POINTS, "size_mb") == []


def test_a_cost_that_fewer_than_two_models_have_is_no_choice() -> None:
    assert list(pareto(POINTS, "good", {})) == ["latency_ms", "params_m"]
    assert pareto(POINTS[:1], "", {}) == {}


def test_times_and_speed_ups_that_other_programs_disturbed_are_marked_wherever_they_stand() -> None:
    timed = {"latency_ms": 5.0, "latency_p90_ms": 6.0, "fps": 200.0, "latency_other_cores": 1.6}
    dense, half = finished(0, 0.8, 2.0), finished(50, 0.78, 1.0, fps=160)
    points = points_of([dense, replace(half, deployed=half.deployed | timed)])
    spots = pareto([replace(p, values={"latency_ms": 9.0} | p.values) for p in points], "", {})["latency_ms"]
    assert [spot["cost"] for spot in spots["data"]["values"]] == ["9.00 ms", "5.00 ms*"]
    found = details(points, RunLinks("sqlite:///mlflow.db", "yoloslim", Path()), [])[1]
    assert {name: mine for name, mine, _ in found.lines} == {
        **{"mAP50": "0.780", "parameters": "1.000 M", "latency, median": "5.00 ms*"},
        **{"latency, 90th percentile": "6.00 ms*", "images a second": "200*"},
        **{"speed against the baseline, timed in turn": "1.60 x*"},
    }
    assert found.notes[1].startswith("* Its latency was taken while other programs used 1.6 core(s)")


def test_spread_over_seeds_is_drawn_where_there_are_several() -> None:
    row = finished(50, 0.78, 1.5)
    of_seeds = replace(row, trained=row.trained | {"repeats": 3, "map50_mean": 0.7, "map50_std": 0.3})
    points = points_of([finished(0, 0.8, 2.0), of_seeds])
    spec = pareto(points, "", {})["params_m"]
    bar = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "rule")
    assert bar["data"]["values"] == [{"x": 1.5, "low": pytest.approx(0.4), "high": pytest.approx(1.0)}]
    y = next(layer["encoding"]["y"]["scale"] for layer in spec["layer"] if "scale" in layer["encoding"].get("y", {}))
    assert (y["domain"][0], y["domain"][1]) == pytest.approx((0.4 - 0.08 * 0.6, 1.0 + 0.12 * 0.6))
    assert any(spot["map50"] == "0.780 (seeds: 0.700 ± 0.300)" for spot in spec["data"]["values"])


def test_a_limit_far_away_does_not_squeeze_the_points() -> None:
    spec = pareto(POINTS, "good", {"params_m": 50})["params_m"]
    assert not [layer for layer in spec["layer"] if layer["mark"]["type"] == "rule"]
    x = next(layer["encoding"]["x"]["scale"] for layer in spec["layer"] if "scale" in layer["encoding"].get("x", {}))
    assert x["domain"] == pytest.approx([0.76, 4.36])


def test_labels_of_models_that_cost_about_the_same_stand_apart() -> None:
    spots = [{"x": x, "y": y, "label": f"{p} %"} for x, y, p in ((1.0, 0.70, 50), (1.02, 0.71, 55), (1.05, 0.70, 60))]
    places = _label_places(spots, [0.0, 4.0], [0.5, 0.8])
    assert places == ["below", "above", "right"]
    far = [{"x": x, "y": 0.7, "label": "50 %"} for x in (1.0, 2.0, 3.0)]
    assert _label_places(far, [0.0, 4.0], [0.5, 0.8]) == ["above"] * 3
