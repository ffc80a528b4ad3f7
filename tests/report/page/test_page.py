"""What the page tells equals what the stages wrote, and what is missing is said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vl_convert

from tests.results.made import LAYERS, PARAMS, build, measured, put
from yoloslim.data.voc import load_split
from yoloslim.errors import TrackingError
from yoloslim.evaluation.confusion import confusion_matrix
from yoloslim.results.judged import judge_rows
from yoloslim.results.records import read_rows

from .conftest import charts_of, page_of, sweep_result, values


@pytest.fixture(scope="module")
def charts(project: Path) -> dict[str, Any]:
    return charts_of((project / "report/index.html").read_text())


def read(project: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project / "metrics" / name).read_text())
    return found


def test_points_stand_where_the_stages_measured_them(project: Path, charts: dict[str, Any]) -> None:
    spots = {spot["name"]: spot for spot in values(charts["pareto"]["variants"]["latency_ms"])}
    for name, file in (("baseline", "baseline"), ("prune@30", "30"), ("prune@50", "50")):
        found = read(project, f"ascend_eval/{file}.json")
        assert (spots[name]["x"], spots[name]["y"]) == (found["latency_ms"], found["map50"])
    spots = {spot["name"]: spot for spot in values(charts["pareto"]["variants"]["params_m"])}
    assert spots["prune@30"]["x"] == read(project, "finetune/30.json")["params_m"]
    probed = next(point for point in read(project, "sweep.json")["points"] if point["percent"] == 70)["before"]
    assert (spots["sweep/70"]["x"], spots["sweep/70"]["y"]) == (probed["params_m"], probed["map50"])
    assert spots["sweep/70"]["state"] == "only cut"


def test_times_of_two_backends_are_never_compared(charts: dict[str, Any]) -> None:
    names = {spot["name"] for spot in values(charts["pareto"]["variants"]["latency_ms"])}
    assert names == {"baseline", "prune@30", "prune@50"}  # what was only probed ran in PyTorch


def test_constraints_and_the_winner_are_marked(charts: dict[str, Any]) -> None:
    layers = charts["pareto"]["variants"]["params_m"]["layer"]
    rules = [layer["data"]["values"][0] for layer in layers if layer["mark"]["type"] == "rule"]
    assert rules == [{"x": 1.2}, {"y": pytest.approx(0.799 - 0.03)}]
    rings = [layer["data"]["values"] for layer in layers if layer["mark"].get("color") == "var(--accent)"]
    assert [spot["name"] for spot in rings[0]] == ["prune@50"]


def test_before_and_after_finetuning_and_the_cliff(project: Path, charts: dict[str, Any]) -> None:
    spec = charts["recovery"]["spec"]
    seen = {(spot["step"], spot["percent"]): spot["y"] for spot in values(spec)}
    assert seen["before finetuning", 0] == read(project, "sparse.json")["map50"]
    assert seen["before finetuning", 50] == read(project, "prune/50.json")["map50_recalibrated"]
    assert seen["before finetuning", 70] == 0.35
    assert seen["after finetuning", 50] == read(project, "finetune/50.json")["map50"]
    bands = [layer["data"]["values"][0] for layer in spec["layer"] if layer["mark"]["type"] == "rect"]
    assert (bands[0]["from"], bands[0]["to"]) == (70, 80)


def test_layers_curves_and_ridges_hold_what_was_written(project: Path, charts: dict[str, Any]) -> None:
    layers = values(charts["layers"]["variants"]["prune@30"])
    assert [row["layer"] for row in layers] == [path.removeprefix("model.").removesuffix(".bn") for path in LAYERS]
    assert {(row["kept"], row["total"]) for row in layers} == {(11, 16)}
    curve = [point["y"] for point in values(charts["curve-map50"]["spec"]) if point["model"] == "50 % pruned"]
    assert curve == pytest.approx([0.26, 0.52, 0.78])
    with np.load(project / "models/sparse/gammas.npz") as stored:
        medians = [np.median(np.abs(each.astype(np.float32))) for each in (stored["before"], *stored["gammas"])]
    ridges = {row["epoch"]: row["median"] for row in values(charts["ridges"]["spec"])}
    assert list(ridges) == ["before", "epoch 1", "epoch 2", "epoch 3"]
    assert [float(median) for median in ridges.values()] == pytest.approx(medians, abs=6e-4)


def test_quality_equals_a_new_evaluation_of_the_stored_boxes(project: Path, charts: dict[str, Any]) -> None:
    test = load_split(project / "data/voc", "test")
    judged = {item.row.name: item for item in judge_rows(read_rows(project), test)}
    curves = judged["prune@50"].evaluation.curves
    drawn = [p for p in values(charts["pr"]["variants"]["cat"]) if p["model"] == "50 % pruned"]
    assert [p["y"] for p in drawn] == pytest.approx(curves.precision[0][::2], abs=6e-4)
    matrix = confusion_matrix(test.annotations, judged["baseline"].found, 2, judged["baseline"].evaluation.confidence)
    cells = {(c["found"], c["true"]): int(c["count"]) for c in values(charts["confusion-baseline"]["spec"])}
    names, ends = ["cat", "dog"], ("missed", "nothing there")
    assert cells == {((*names, ends[0])[i], (*names, ends[1])[j]): int(n) for (i, j), n in np.ndenumerate(matrix) if n}


def test_every_chart_is_valid_vega_lite(charts: dict[str, Any]) -> None:
    assert {"pareto", "recovery", "layers", "ridges", "pr", "curve-loss", "curve-map50"} <= set(charts)
    for chart in charts.values():
        for variant in ({}, *chart["variants"].values()):
            assert vl_convert.vegalite_to_vega(chart["spec"] | variant)["marks"]


def test_the_winner_comes_first_with_the_commands_and_hashes_that_make_it_again(project: Path) -> None:
    page = (project / "report/index.html").read_text()
    assert "<h1><b>50\u00a0% pruned</b> and finetuned: mAP50 0.778 (baseline 0.799)" in page
    assert "Asked for: the fastest model with at most 0.03 mAP50 lost, at most 1.2 M parameters." in page
    assert "dvc repro prune@50 finetune@50 export@50 atc@50 ascend_eval@50" in page
    assert "0123abc.dir" in page
    assert "It has 1.4 M parameters, wanted at most 1.2." in page
    assert "2 finetuned, where trying every percent would finetune 81" in page
    assert "mAP50 0.778" in (project / "report/report.md").read_text()


def test_without_a_point_that_satisfies_the_constraints_the_closest_is_named(tmp_path: Path) -> None:
    root = build(tmp_path / "project")
    put(root / "metrics/sweep.json", sweep_result(None) | {"why": "no point satisfies them; 50 % comes closest"})
    page = page_of(root)
    assert "<h1>No model satisfies what was asked; <b>50\u00a0% pruned</b> comes closest.</h1>" in page
    assert "No point satisfies them; 50 % comes closest." in page


def test_a_variant_that_won_is_told_though_its_files_lie_elsewhere(tmp_path: Path) -> None:
    root, result = build(tmp_path / "project"), sweep_result("v1/50")
    result["points"][1] |= {"name": "v1/50", "overrides": {"prune.scope": "free"}}
    put(root / "metrics/sweep.json", result)
    page = page_of(root)
    assert "<b>50\u00a0% pruned (prune.scope free)</b> and finetuned: mAP50 0.778." in page
    assert "yoloslim sweep --apply &#39;v1/50&#39;" in page
    assert "there are no stored detections of a dense and a finetuned model to compare" in page


def test_what_is_missing_is_left_out_with_a_reason(tmp_path: Path) -> None:
    root = build(tmp_path / "project")
    for name in ("finetune", "export", "ascend_eval", "prune"):
        for file in (root / "metrics" / name).iterdir():
            file.unlink()
    (root / "models/sparse/gammas.npz").unlink()
    page = page_of(root)
    for reason in (
        "fewer than two models have been measured, so there is nothing to compare yet",
        "there is no <code>models/sparse/gammas.npz</code>: the sparse training has not run, "
        "or <code>sparse.penalty</code> is none",
        "no percent has been pruned yet",
        "there are no stored detections of a dense and a finetuned model to compare",
        "so there is no certificate",
        "so no hashes are known",
    ):
        assert f"{reason}." in page


def test_where_nothing_was_trained_sparsely_nothing_is_said_of_it(tmp_path: Path) -> None:
    root = build(tmp_path / "project")
    assert "What sparse training did" in page_of(root)
    history = read(root, "../models/sparse/history.json") if (root / "models/sparse/history.json").exists() else {}
    put(root / "models/sparse/history.json", history | {"penalty": "none"})
    page = page_of(root)
    assert "What sparse training did" not in page
    assert "#gammas" not in page
    assert "then the finetuning of every percent, which all start where the baseline ends." in page


def test_cut_but_not_finetuned_models_are_points_too(tmp_path: Path) -> None:
    root = build(tmp_path / "project")
    for name in ("finetune", "export", "ascend_eval"):
        for percent in (30, 50):
            (root / f"metrics/{name}/{percent}.json").unlink()
    spots = values(charts_of(page_of(root))["pareto"]["variants"]["params_m"])
    assert {spot["name"]: spot["state"] for spot in spots}["prune@30"] == "only cut"


def test_numbers_that_are_none_and_models_that_find_nothing_do_no_harm(tmp_path: Path) -> None:
    root = build(tmp_path / "project")
    found = read(root, "ascend_eval/30.json") | {"map50": float("nan"), "latency_ms": float("inf")}
    put(root / "metrics/ascend_eval/30.json", found)  # as JSON's readers and writers in Python allow
    for folder in ("baseline", "finetune/50"):
        put(root / f"detections/{folder}.json", {"ids": ["a", "b"], "detections": [[], []]})
    np.savez(root / "models/sparse/gammas.npz", before=np.zeros(4), gammas=np.zeros((0, 4)), epochs=np.zeros(0, int))
    page = page_of(root)
    charts = charts_of(page)["pareto"]["variants"]
    assert {spot["name"] for spot in values(charts["latency_ms"])} == {"baseline", "prune@50"}
    assert {spot["name"]: spot["y"] for spot in values(charts["params_m"])}["prune@30"] == 0.79  # PyTorch's
    assert "wrote down no scales that can be drawn" in page
    assert ">nan" not in page


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics/sweep.json", {"name": 1}, "sweep.json is not what a sweep writes .name: .*; run the sweep again"),
        ("dvc.lock", [1], "dvc.lock is not what DVC writes"),
    ],
)
def test_files_that_are_broken_are_named(tmp_path: Path, file: str, content: Any, message: str) -> None:
    root = build(tmp_path / "project")
    put(root / file, content)
    with pytest.raises(TrackingError, match=message):
        page_of(root)


def test_the_control_is_a_point_and_a_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARAMS, "controls", ["dense"])
    put(root / "metrics/control/dense.json", measured(0.83, 2.0, "pytorch-cpu", 100))
    put(root / "models/control/dense/history.json", {"kept_epoch": 1, "training": "key", "epochs": []})
    charts = charts_of(page_of(root))
    spots = {spot["name"]: spot for spot in values(charts["pareto"]["variants"]["params_m"])}
    assert {key: spots["control"][key] for key in ("label", "y")} == {"label": "dense, trained on", "y": 0.83}
    lines = [layer for layer in charts["recovery"]["spec"]["layer"] if layer["mark"].get("type") == "rule"]
    assert [line["data"]["values"][0] for line in lines] == [{"y": 0.83, "text": "dense, trained on: 0.830"}]
