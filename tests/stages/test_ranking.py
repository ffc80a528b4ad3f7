"""Stage `ranking`: the trials decide, cost nothing where nothing is to decide, and are not made twice."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.stages.short_trainings import (
    EPOCH,
    checkpoints,
    short_params,
    steps_taken,
    stopped_at_the_second,
    without_files,
)
from tests.tiny import tiny_detector
from yoloslim.config import Params, parse_params
from yoloslim.errors import ConfigError, PruneError
from yoloslim.files import read_json, write_json
from yoloslim.models.detector import Detector, count_macs
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.importance import channel_scores
from yoloslim.stages import prune as cutting
from yoloslim.stages import ranking, recovery
from yoloslim.stages.prune import ranked
from yoloslim.training.fit import Fit

FOUND = Path("metrics/ranking.json")


def params_of(**changed: Any) -> Params:
    return short_params({"trial_steps": EPOCH} | changed)


@pytest.fixture
def dense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Detector:
    """The sparse model, which the three rankings cut in three ways."""
    model = without_files(tmp_path, monkeypatch)
    monkeypatch.setattr(ranking, "prepared_split", lambda _: SimpleNamespace(ids=range(8)))
    reversed_gamma = {
        path: scores.max() - scores for path, scores in channel_scores(model, find_coupling(model)).items()
    }
    monkeypatch.setattr(cutting, "taylor", lambda *_: reversed_gamma)
    return model


@pytest.mark.parametrize(
    ("found", "best"),
    [((0.2, 0.3, 0.1), "gamma"), ((0.3, 0.2, 0.1), "taylor"), ((0.1, 0.1, 0.2), "l2"), ((0, 0, 0), "taylor")],
)
def test_the_one_that_finds_more_after_a_short_training_ranks(
    found: tuple[float, ...],
    best: str,
    dense: Detector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rivals = dict(zip(("taylor", "gamma", "l2"), found, strict=True))
    tried = {}

    def recover(params: Params, name: str, model: Detector, phase: Any, settings: Any) -> tuple[Fit, Path]:
        tried[name] = (model, phase.epochs)
        accuracy = rivals[name.removeprefix("ranking/")]
        return Fit(model, [{"map50": 2 * accuracy, "map50_95": accuracy}], 1), Path("none.pt")

    monkeypatch.setattr(ranking, "recover", recover)
    ranking.run(params_of(trial_steps=5))
    trials = {n: {"map50": 2 * a, "map50_95": a} for n, a in rivals.items()}
    normalise = "mean" if best == "l2" else "none"
    assert read_json(FOUND) == {"importance": best, "normalise": normalise, "trials": trials}
    assert list(tried) == ["ranking/taylor", "ranking/gamma", "ranking/l2"]
    half = count_macs(dense, 64) / 2
    for model, epochs in tried.values():
        assert epochs == 3
        assert 0.7 * half < count_macs(model, 64) <= half
    assert len({str(model.spec.widths) for model, _ in tried.values()}) == 3
    assert ("trials that find next to nothing tell little: raise prune.trial_steps (5)" in caplog.text) is not any(
        found
    )
    chosen = ranked(params_of()).prune
    assert (chosen.importance, chosen.normalise) == (best, normalise)


@pytest.mark.parametrize("selection", ["percent", "flops", "latency"])
def test_trials_choose_channels_as_the_cuts_do(
    selection: str, dense: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Params] = []

    def cut(trial: Params, model: Detector, request: PruneRequest) -> Any:
        asked.append(trial)
        return SimpleNamespace(model=model)

    monkeypatch.setattr(ranking, "cut_once", cut)
    monkeypatch.setattr(ranking, "settled", lambda _, result: result.model)
    runtime = {"latency_runtime": "ncnn", "latency_table": "table.json"} if selection == "latency" else {}
    params = params_of(selection=selection, **runtime)
    ranking.cut_by(params, dense, "gamma", "mean")
    p, half = asked[0].prune, count_macs(dense, 64) * 1e-9
    goals = (p.selection, p.target_speedup, p.target_gflops, p.latency_runtime, p.latency_table)
    expected = ("latency", 2.0, None, "ncnn", "table.json") if runtime else (selection, None, half, "onnxruntime", "")
    assert goals == expected
    assert (p.importance, p.normalise) == ("gamma", "mean")


def test_what_is_asked_to_make_scores_comparable_does_so_for_all_rivals() -> None:
    assert ranking.made_comparable(params_of()) == {"taylor": "none", "gamma": "none", "l2": "mean"}
    assert set(ranking.made_comparable(params_of(normalise="lamp")).values()) == {"lamp"}


@pytest.mark.parametrize(
    ("images", "batch", "epochs"), [(292, 16, 5), (1000, 32, 3), (2971, 32, 1), (8, 8, 80), (2560, 0, 1), (32, 0, 5)]
)
def test_a_trial_is_of_whole_epochs(images: int, batch: int, epochs: int) -> None:
    params = parse_params({"train": {"batch": batch, "device": "cpu"}})
    assert params.prune.trial_steps == 80
    assert ranking.trial_epochs(params, images) == epochs


def test_on_a_gpu_whose_batch_is_not_known_before_a_trial_has_no_fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "choose_device", lambda _: torch.device("cuda"))
    assert ranking.trial_epochs(parse_params({"train": {"batch": 0}}), 5120) == 4  # at most 256 images in each of 20
    assert ranking.trial_epochs(parse_params({"train": {"batch": 0, "devices": 4}}), 5120) == 8


def test_a_trial_is_no_longer_than_a_training_may_be() -> None:
    longest = {"train": {"batch": 8}, "prune": {"trial_steps": 10_000}}
    params = parse_params(longest)
    assert recovery.recovery(params, ranking.trial_epochs(params, 1)).epochs == 10_000
    with pytest.raises(ConfigError, match=r"prune\.trial_steps = 10001"):
        parse_params({"prune": {"trial_steps": 10_001}})


def test_costs_are_measured_on_the_runtime_that_is_asked_for(dense: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(cutting, "layer_latencies_ms", lambda model, runtime, threads: asked.append(runtime))
    ranking.cut_by(params_of(cost="latency", cost_power=1, latency_runtime="openvino"), dense, "gamma", "none")
    assert asked == ["openvino"]


def test_a_cut_that_is_not_exact_ends_the_stage(dense: Detector) -> None:
    with pytest.raises(PruneError, match="the cut model differs from the masked one"):
        ranking.run(params_of(tolerance=1e-30))
    assert not FOUND.exists()


def test_whatever_the_models_are_asked_for_a_trial_leaves_half_of_the_flops(dense: Detector) -> None:
    for changed in ({"target_speedup": 3}, {"residual_units": 2}):
        small = ranking.cut_by(params_of(**changed), dense, "gamma", "none")
        assert count_macs(small, 64) <= count_macs(dense, 64) / 2
        assert small.spec.widths


@pytest.mark.usefixtures("dense")
def test_an_interrupted_trial_goes_on_and_nothing_is_trained_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = steps_taken(monkeypatch)
    stopped_at_the_second("recover", ranking, lambda: ranking.run(params_of()), monkeypatch)
    assert len(steps) == EPOCH
    assert not FOUND.exists()
    ranking.run(params_of())
    assert len(steps) == 3 * EPOCH
    assert read_json(FOUND)["importance"] == "taylor"
    assert not checkpoints()


@pytest.mark.usefixtures("dense")
def test_cuts_are_made_once_whatever_is_measured_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process of a training, or the same command after Ctrl-C, would measure, and so cut, otherwise."""
    seeds = itertools.count()
    monkeypatch.setattr(ranking, "cut_by", lambda *_: tiny_detector(seed=next(seeds)))
    rivals = ranking.made_comparable(params_of())
    stopped_at_the_second("save_model", ranking, lambda: ranking.cuts(params_of(), rivals), monkeypatch)
    first, again = ({name: f.read_bytes() for name, f in ranking.cuts(params_of(), rivals).items()} for _ in range(2))
    assert first == again
    assert next(seeds) == 4  # the second one was made, and not yet written, when it was stopped
    assert not {*ranking.cuts(params_of(round_to=2), rivals).values()} & {*ranking.cuts(params_of(), rivals).values()}


def test_an_importance_that_is_named_is_taken_without_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # without a model, which is not looked at
    ranking.run(params_of(importance="l1"))
    assert read_json(FOUND) == {"importance": "l1", "normalise": "none"}
    ranking.run(parse_params({"baseline": {"weights": "a.pt"}}))
    assert read_json(FOUND) == {"importance": "taylor", "normalise": "mean"}
    assert ranked(params_of(importance="l2")).prune.importance == "l2"


def test_floors_that_leave_more_than_half_are_said(dense: Detector, caplog: pytest.LogCaptureFixture) -> None:
    ranking.run(params_of(layer_keep=1.0))
    assert "no trial of half the FLOPs, taylor ranks: target_gflops=" in caplog.text
    found = read_json(FOUND)
    assert found["importance"] == "taylor"
    assert "layer_keep 1 keep every channel" in found["why"]


def test_without_the_stage_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"metrics/ranking.json is missing, .*: run `dvc repro ranking`"):
        ranked(params_of())
    write_json(FOUND, {"importance": "gamma", "normalise": "none"})
    assert ranked(params_of()).prune.importance == "gamma"


@pytest.mark.parametrize(
    ("sections", "importance"),
    [
        ({}, "auto"),
        ({"prune": {"importance": "l1"}}, "l1"),
        ({"prune": {"scope": "source"}}, "gamma"),
        ({"prune": {"scope": "free"}}, "auto"),
        ({"baseline": {"weights": "a.pt"}}, "taylor"),
        ({"sparse": {"penalty": "slimming"}}, "gamma"),
        ({"sparse": {"penalty": "growing"}, "baseline": {"weights": "a.pt"}}, "l2"),
    ],
)
def test_what_auto_stands_for_depends_on_what_was_trained_and_how(sections: dict[str, Any], importance: str) -> None:
    assert parse_params(sections).prune.importance == importance
