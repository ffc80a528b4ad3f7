"""Pruning in rounds: what each cuts, what all come to, what is trained between them, and that nothing is done twice."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.stages.short_trainings import (
    ACCURACY,
    EPOCH,
    checkpoints,
    short_params,
    steps_taken,
    stopped_at_the_second,
    without_files,
)
from tests.tiny import shake_norms, tiny_detector
from yoloslim.config import Params, parse_params
from yoloslim.errors import ConfigError, OutOfReachError
from yoloslim.files import read_json, sha256_file
from yoloslim.models.detector import Detector, count_params
from yoloslim.models.store import load_model
from yoloslim.prune_request import ChannelSelection, PruneRequest
from yoloslim.pruning.certified_cut import PruneResult, prune
from yoloslim.stages import control, finetune, rounds
from yoloslim.stages import prune as stage
from yoloslim.stages.rounds import prune_in_rounds, request_at
from yoloslim.training.fit import Fit

DENSE = {"target_params_m": 8.0, "target_gflops": 4.0}


def params_of(**changed: Any) -> Params:
    """Two rounds unless said otherwise."""
    return short_params({"rounds": 2, "round_epochs": 1, "importance": "gamma"} | changed)


def test_every_round_takes_the_same_share_of_what_the_one_before_it_left() -> None:
    request = PruneRequest(percent=87.5)
    assert [request_at(request, n, 3, 0.5 ** (n - 1), DENSE).percent for n in (1, 2, 3)] == pytest.approx([50] * 3)
    assert request_at(request, 3, 3, 0.5, DENSE).percent == pytest.approx(75)  # the round before took too little
    assert request_at(request, 3, 3, 0.1, DENSE).percent == 0  # or too much


def test_targets_are_come_down_to_in_equal_steps_and_a_target_that_is_met_cuts_nothing() -> None:
    request = PruneRequest(target_gflops=1)
    assert [request_at(request, n, 2, 0.7, DENSE).target_gflops for n in (1, 2)] == pytest.approx([2, 1])
    assert request_at(PruneRequest(target_params_m=9), 1, 2, 1, DENSE).target_params_m == 8


def test_what_holds_for_all_rounds_together_is_dealt_out_to_them() -> None:
    request = PruneRequest(layer_keep=0.25, residual_units=3)
    first, last = (request_at(request, n, 2, 1, DENSE) for n in (1, 2))
    assert (first.layer_keep, last.layer_keep) == (0.5, 0.5)  # a quarter of a layer after both
    assert (first.residual_units, last.residual_units) == (0, 3)
    assert request_at(request, 1, 1, 1, DENSE) is request


def test_epochs_between_rounds_are_taken_off_the_finetuning_and_the_control_has_all() -> None:
    params = parse_params({"prune": {"rounds": 3, "round_epochs": 2}, "finetune": {"epochs": 14, "lr0": 0.005}})
    assert finetune.phase_of(params).epochs == 10
    assert finetune.phase_of(params).lr0 == 0.005
    assert control.phase_of(params).epochs == 14
    assert rounds.recovery(params, 2).epochs == 2
    plain = parse_params({})
    assert finetune.phase_of(plain) == plain.finetune


def test_recovery_has_the_usual_recipe_of_what_the_pipeline_starts_from() -> None:
    fresh, given = (
        rounds.recovery(parse_params({"baseline": {"weights": weights}, "finetune": {"lr0": 0.5}}), 2)
        for weights in ("", "w.pt")
    )
    assert (fresh.optimizer, fresh.lr0) == ("AdamW", 0.002)
    assert (given.optimizer, given.lr0) == ("SGD", 0.003)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"rounds": 8}, r"prune.rounds=8 with prune.round_epochs=2 takes 14 of finetune.epochs=14 and leaves none"),
        ({"rounds": 3, "target_speedup": 2}, r"rounds=3 goes by channels, parameters or FLOPs, and target_speedup"),
        ({"rounds": 2, "selection": "latency"}, r"rounds=2 goes by .* and selection latency asks for time"),
        ({"rounds": 0}, r"prune.rounds"),
        ({"target_speedup": 2, "target_gflops": 1}, r"target_gflops and target_speedup are set at once; keep one"),
    ],
)
def test_what_cannot_be_meant_is_named(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_params({"prune": section})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_files(tmp_path, monkeypatch)
    monkeypatch.setattr(stage, "eval_set", lambda *_: None)
    monkeypatch.setattr(stage, "validate_model", lambda *_: SimpleNamespace(metrics=ACCURACY))


def test_the_report_is_about_the_network_before_all_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_detector()
    shake_norms(model)
    monkeypatch.setattr(
        rounds, "recover", lambda p, n, m, phase, told: (Fit(m, [{"map50": 0.25}], 1), Path(f"{told[0][-1]}.pt"))
    )
    cuts: list[PruneResult[Detector]] = []

    def cut(network: Detector, request: PruneRequest) -> PruneResult[Detector]:
        cuts.append(prune(network, request))
        return cuts[-1]

    request = PruneRequest(percent=60, round_to=1, imgsz=64)
    found = prune_in_rounds(params_of(rounds=3), 60, model, request, cut)
    report, whole = found.result.report, prune(model, replace(request, percent=0)).report
    assert len(cuts) == 3
    assert found.checkpoints == (Path("1.pt"), Path("2.pt"))
    assert report["before"] == whole["before"]
    assert report["requested_percent"] == 60
    assert report["effective_percent"] == pytest.approx(60, abs=8)  # of a few channels
    kept = sum(r["kept"] for r in report["layers"] if r["kind"] == "batchnorm")
    total = sum(r["total"] for r in report["layers"] if r["kind"] == "batchnorm")
    assert kept / total == pytest.approx(1 - report["effective_percent"] / 100)
    assert [row["total"] for row in report["layers"]] == [row["total"] for row in whole["layers"]]
    assert report["after"]["channels"] == kept
    assert report["certificate"]["max_cut"] == max(max(each.certificate.cut) for each in cuts)
    assert [row["percent"] for row in report["rounds"]] == pytest.approx([26, 46, 60], abs=8)
    assert [row.get("map50") for row in report["rounds"]] == [0.25, 0.25, None]


@pytest.mark.parametrize(
    ("selection", "target"), [("percent", "target_gflops"), ("percent", "target_params_m"), ("flops", "target_gflops")]
)
def test_what_the_report_says_was_asked_for_is_the_target_s_share_as_after_one_cut(
    selection: ChannelSelection, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_detector()
    shake_norms(model)
    monkeypatch.setattr(rounds, "recover", lambda p, n, m, *_: (Fit(m, [{"map50": 0.25}], 1), Path("none.pt")))
    cut, limits = partial(prune, selection=selection), PruneRequest(percent=30, round_to=1, imgsz=64)
    before = prune(model, limits).report["before"][target.removeprefix("target_")]
    request = replace(limits, **{target: 0.4 * before})
    found = prune_in_rounds(params_of(selection=selection), 30, model, request, cut).result.report
    assert found["requested_percent"] == pytest.approx(cut(model, request).report["requested_percent"], abs=8)
    assert selection == "percent" or found["requested_percent"] == pytest.approx(60)
    assert selection == "flops" or found["requested_percent"] == pytest.approx(found["effective_percent"])


@pytest.mark.parametrize("selection", ["percent", "flops"])
def test_a_target_out_of_reach_is_told_before_anything_is_trained(
    selection: ChannelSelection, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_detector()
    monkeypatch.setattr(rounds, "recover", lambda *_: pytest.fail("trained"))
    limits = PruneRequest(percent=99, round_to=8, imgsz=64)
    whole = prune(model, limits).report["before"]["gflops"]
    asked = limits if selection == "flops" else replace(limits, target_gflops=0.01 * whole)
    with pytest.raises(OutOfReachError, match=rf"target_gflops={0.01 * whole:g} is out of reach"):
        prune_in_rounds(params_of(selection=selection), 99, model, asked, partial(prune, selection=selection))


@pytest.mark.usefixtures("project")
def test_one_round_is_the_cut_as_it_always_was() -> None:
    stage.run(params_of(rounds=1), 50)
    at_once = load_model(Path("models/prune/50/model.safetensors"))
    sparse = load_model(Path("models/sparse/model.safetensors"))
    expected = prune(sparse, PruneRequest(percent=50, round_to=1, imgsz=64)).model
    for (name, value), (_, other) in zip(at_once.state_dict().items(), expected.state_dict().items(), strict=True):
        assert torch.equal(value, other), name
    assert len(read_json(Path("models/prune/50/report.json"))["rounds"]) == 1
    assert not Path(".cache/checkpoints").exists()


@pytest.mark.usefixtures("project")
def test_what_was_trained_between_two_rounds_can_be_trained_again() -> None:
    stage.run(params_of(rounds=3), 50)
    rows = read_json(Path("models/prune/50/report.json"))["rounds"]
    assert ["map50" in row for row in rows] == [True, True, False]


@pytest.mark.usefixtures("project")
def test_an_interrupted_run_trains_nothing_twice_and_ends_in_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = steps_taken(monkeypatch)
    stage.run(params_of(), 50)
    file = Path("models/prune/50/model.safetensors")
    whole = sha256_file(file)
    assert len(steps) == EPOCH
    assert count_params(load_model(file)) < count_params(load_model(Path("models/sparse/model.safetensors")))
    assert not checkpoints()
    file.unlink()

    stopped_at_the_second("cut_once", stage, lambda: stage.run(params_of(), 50), monkeypatch)
    assert len(steps) == 2 * EPOCH
    assert not file.exists()
    stage.run(params_of(), 50)
    assert len(steps) == 2 * EPOCH
    assert sha256_file(file) == whole
    assert not checkpoints()
