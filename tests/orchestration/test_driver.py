"""The loop of a sweep, around a fake of DVC."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from tests.orchestration.fake_dvc import FakeDvc
from tests.sweeping.curves import BASELINE, Curves
from yoloslim.config import SweepResult, load_params, parse_params
from yoloslim.errors import ConfigError, Interrupted, SweepError
from yoloslim.orchestration.driver import only_one, run_sweep
from yoloslim.orchestration.points import Job, Outcome
from yoloslim.orchestration.process import CommandError
from yoloslim.orchestration.stopping import stoppable
from yoloslim.orchestration.sweep_flow import _giving_up, or_else
from yoloslim.orchestration.variant_run import Event, in_threads, last_alone


def sweep(dvc: FakeDvc, workers: int = 1) -> tuple[SweepResult, list[Event]]:
    events: list[Event] = []
    result = run_sweep(dvc.root, load_params(dvc.root / "params.yaml"), in_threads(workers), workers, events.append)
    return result, events


@pytest.fixture
def dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDvc:
    return FakeDvc(tmp_path, Curves(cliff=48, knee=62), monkeypatch)


def listed(dvc: FakeDvc) -> tuple[int, ...]:
    return load_params(dvc.root / "params.yaml").percents


def test_sweep_finds_the_optimum_and_writes_it(dvc: FakeDvc) -> None:
    result, _ = sweep(dvc)
    assert (result.winner, result.cliff) == ("65", 48)
    assert result.finetunings == dvc.count("finetune") <= 6
    assert result.grid_finetunings == 86
    assert SweepResult.model_validate_json((dvc.root / "metrics/sweep.json").read_text()) == result
    assert listed(dvc) == result.added
    assert len(load_params(dvc.root / "params.yaml").probes) == dvc.count("probe") == result.probes


def test_points_are_held_against_the_control_where_it_is_better(dvc: FakeDvc) -> None:
    dvc.dense["control/dense"] = BASELINE | {"map50": BASELINE["map50"] + 0.02}
    result, _ = sweep(dvc)
    assert "ascend_eval_control@dense" in dvc.ran
    assert result.baseline == dvc.dense["control/dense"] | {"model": "control/dense"}
    assert result.winner == "50"  # 0.69 is what 0.72 - 0.03 leaves; 55 % finds 0.6895
    assert "loses 0.030 map50 against the dense model trained for as long" in result.why


def test_the_same_sweep_again_leaves_the_file_as_it_is(dvc: FakeDvc) -> None:
    result, _ = sweep(dvc)
    path, ran = dvc.root / "metrics/sweep.json", list(dvc.ran)
    stamp = path.stat().st_mtime_ns
    again, _ = sweep(dvc)
    assert again.key == result.key
    assert path.stat().st_mtime_ns == stamp
    assert [name for name in dvc.ran[len(ran) :] if "@" in name] == []


@pytest.mark.parametrize("workers", [2, 3])
def test_points_side_by_side_find_the_same(dvc: FakeDvc, workers: int) -> None:
    result, _ = sweep(dvc, workers)
    assert (result.winner, result.cliff) == ("65", 48)


def test_speed_is_measured_when_nothing_else_runs(dvc: FakeDvc) -> None:
    beside: list[set[str]] = []

    def before(stage: str) -> None:
        time.sleep(0.02)
        if stage.startswith("ascend_eval@"):
            beside.append(dvc.active - {stage})

    dvc.before = before
    sweep(dvc, workers=3)
    assert len(beside) == dvc.count("ascend_eval") > 2
    assert not any(beside)


def test_speeds_of_the_result_are_of_one_session(dvc: FakeDvc) -> None:
    dvc.times = {name: {"latency_ms": 1.5, "speedup": 2.5} for name in ("65", "baseline")}
    result, _ = sweep(dvc)
    assert dvc.ran[-1] == "timing"
    winner = next(point for point in result.points if point.name == result.winner)
    assert (winner.deployed["latency_ms"], winner.deployed["speedup"]) == (1.5, 2.5)
    assert (result.baseline["latency_ms"], result.baseline["map50"]) == (1.5, BASELINE["map50"])


def test_models_that_cannot_be_timed_together_keep_the_speeds_they_had(dvc: FakeDvc) -> None:
    dvc.broken["timing"] = ["no export of 70 %"]
    result, events = sweep(dvc)
    assert result.winner == "65"
    told = [event.text for event in events if event.kind == "warning"]
    assert told == [
        "the models could not be timed in turn: no export of 70 %; speeds are those of when each point was measured"
    ]


def test_variant_whose_shared_stages_fail_is_reported_and_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dvc = FakeDvc(tmp_path, Curves(48, 62), monkeypatch, axes={"prune.scope": ["coupled", "free"]})
    worktree = tmp_path / "worktree"
    worktree.mkdir()
    (worktree / "params.yaml").write_text((tmp_path / "params.yaml").read_text())
    monkeypatch.setattr(
        "yoloslim.orchestration.driver.open_variant", lambda checkout, each: worktree if each.overrides else checkout
    )
    dvc.before = lambda stage: dvc.broken.update(sparse=["loss is not finite"]) if stage == "finetune@65" else None
    result, _ = sweep(dvc)
    assert result.winner == "65"
    assert [(p.name, p.status) for p in result.points if p.overrides] == [("scope=free/10", "failed")]


def test_point_that_fails_is_reported_and_skipped(dvc: FakeDvc) -> None:
    dvc.broken["finetune@45"] = ["loss is not finite"]
    result, events = sweep(dvc)
    assert [(p.percent, p.error) for p in result.points if p.status == "failed"] == [(45, "loss is not finite")]
    assert result.winner == "65"
    assert 45 not in listed(dvc)
    assert [event.text for event in events if event.kind == "failed"] == ["loss is not finite"]


def test_last_job_that_would_run_beside_none_of_its_kind_is_alone() -> None:
    def alone(kinds: str, workers: int) -> list[bool]:
        jobs = [Job("probe" if kind == "p" else "finetune", number) for number, kind in enumerate(kinds)]
        found = last_alone(jobs, workers)
        assert found == jobs  # as keys they are the same
        return [job.alone for job in found]

    assert alone("f", 2) == alone("p", 2) == [True]
    assert alone("ff", 2) == alone("pf", 1) == [False, False]
    assert alone("pf", 2) == [False, True]
    assert alone("ppf", 2) == alone("fff", 2) == [False, False, True]
    assert alone("pff", 2) == alone("fff", 4) == [False, False, False]


@pytest.mark.parametrize(("share", "devices"), [(8, 1), (0, 1), (8, 2)])
def test_lone_point_has_all_cores_unless_threads_change_its_weights(dvc: FakeDvc, share: int, devices: int) -> None:
    params = yaml.safe_load((dvc.root / "params.yaml").read_text())
    params["train"] |= {"share": share, "devices": devices}
    (dvc.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert sweep(dvc, workers=2)[0].winner == "65"
    last = [(stages[-1].partition("@")[0], everything) for stages, everything in dvc.leased if stages]
    assert {everything for stage, everything in last if stage == "atc"} == (
        {True, False} if share and devices == 1 else {False}
    )
    assert {everything for stage, everything in last if stage == "ascend_eval"} == {True}


def test_cause_that_may_pass_is_tried_again(dvc: FakeDvc) -> None:
    dvc.broken["finetune@45"] = ["error: Connection refused by the store"]
    result, events = sweep(dvc)
    assert [event.job.name for event in events if event.kind == "again" and event.job] == ["finetune 45 %"]
    assert [point.percent for point in result.points if point.status == "failed"] == []


def test_cause_that_does_not_pass_is_given_up(dvc: FakeDvc) -> None:
    dvc.broken["finetune@45"] = ["exited with -9"] * 5
    result, _ = sweep(dvc)
    assert [point.percent for point in result.points if point.status == "failed"] == [45]
    assert dvc.ran.count("finetune@45") == 2


def test_every_point_failing_is_told(dvc: FakeDvc) -> None:
    dvc.broken |= {f"probe@{p}": ["no model"] for p in range(100)} | {f"prune@{p}": ["no model"] for p in range(100)}
    result, _ = sweep(dvc)
    assert result.winner is None
    assert result.why == "no point could be measured"


def test_full_disk_stops_the_sweep_and_keeps_what_is_done(dvc: FakeDvc) -> None:
    dvc.broken["finetune@45"] = ["cannot write model.safetensors: No space left on device"]
    with pytest.raises(SweepError, match=r"the disk is full .*nothing that was finished is lost.*goes on"):
        sweep(dvc)
    probes = dvc.count("probe")
    assert sweep(dvc)[0].winner == "65"
    assert dvc.count("probe") == probes


def test_shared_stage_that_fails_is_told(dvc: FakeDvc) -> None:
    dvc.broken["baseline"] = ["no images"]
    with pytest.raises(SweepError, match="stages that all points need failed: no images"):
        sweep(dvc)


def test_report_that_fails_leaves_the_winner(dvc: FakeDvc) -> None:
    def reproduce(*arguments: object, **options: object) -> None:
        if arguments[2] == "rest":
            raise CommandError("no report")
        dvc.reproduce(*arguments, **options)  # type: ignore[arg-type]

    dvc.monkeypatch.setattr("yoloslim.orchestration.variant_run.reproduce", reproduce)
    result, events = sweep(dvc)
    assert result.winner == "65"
    assert [event.text for event in events if event.kind == "warning"] == ["no report; `dvc repro` tries again"]


def test_sweep_that_is_stopped_goes_on_where_it_was(dvc: FakeDvc) -> None:
    def stop(stage: str) -> None:
        if stage == "finetune@70":
            dvc.before = lambda stage: None
            raise Interrupted(2, "in mid-sweep")

    dvc.before = stop
    dvc.broken = {}
    with pytest.raises(Interrupted):
        run_sweep(dvc.root, load_params(dvc.root / "params.yaml"), here, 1, lambda event: None)
    ran = list(dvc.ran)
    result, _ = sweep(dvc)
    assert result.winner == "65"
    assert not set(ran) & {name for name in dvc.ran[len(ran) :] if "@" in name}
    assert set(listed(dvc)) == set(result.added)


def here(jobs: Sequence[Job], checkout: Path) -> Iterator[Outcome]:
    """Jobs in this very thread, so that what stops them stops the sweep."""
    from yoloslim.orchestration import points

    for job in jobs:
        points.list_percents(checkout, "probes" if job.kind == "probe" else "percents", [job.percent])
        points.reproduce(job.targets, checkout, "log", single=True)
        yield Outcome(job, 0.0)


def test_listed_percents_are_kept_and_those_of_former_sweeps_are_not(dvc: FakeDvc) -> None:
    path = dvc.root / "params.yaml"
    path.write_text(path.read_text().replace("percents: []", "percents: [30, 65]"))
    result, _ = sweep(dvc)
    assert result.winner == "65"
    assert set(result.added).isdisjoint({30, 65})
    assert set(listed(dvc)) == {30, 65, *result.added}
    path.write_text(path.read_text().replace("max_map_drop: 0.03", "max_map_drop: 0.3"))
    wider, _ = sweep(dvc)
    assert wider.winner == "95"
    assert set(listed(dvc)) == {30, 65, *wider.added}


def test_constraints_that_no_point_meets_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dvc = FakeDvc(tmp_path, Curves(48, 62), monkeypatch, max_size_mb=0.1)
    result, _ = sweep(dvc)
    assert result.winner is None
    assert result.why.startswith(f"no point satisfies the constraints; {result.closest} % comes closest")
    assert "MB, wanted at most 0.1" in result.why


def test_tracking_server_that_is_away_costs_nothing(dvc: FakeDvc, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dvc.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["tracking"] |= {"enabled": True, "uri": "http://127.0.0.1:9"}
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    monkeypatch.chdir(dvc.root)
    assert sweep(dvc)[0].winner == "65"


def test_where_prefect_fails_the_rest_runs_without_it(dvc: FakeDvc, monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(jobs: Sequence[Job], checkout: Path) -> Iterator[Outcome]:
        for job in jobs:
            if job.kind == "finetune":
                raise ConnectionError("server is gone")
            yield from in_threads(1)([job], checkout)

    events: list[Event] = []
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    params = load_params(dvc.root / "params.yaml")
    fan_out = or_else(dying, in_threads(1), _giving_up(params, events.append))
    result = run_sweep(dvc.root, params, fan_out, 1, events.append)
    assert result.winner == "65"
    assert [event.text for event in events if event.kind == "warning"] == [
        "Prefect is away (http://127.0.0.1:4200/api: ConnectionError: server is gone); going on without it, nothing is "
        "lost"
    ]


def test_ctrl_c_in_whose_place_prefect_fails_still_stops_the_sweep(tmp_path: Path) -> None:
    """A dead server: Prefect cannot report that it was interrupted, and raises that instead."""
    told: list[Exception] = []
    jobs = [Job("probe", 10)]

    def dying(jobs: Sequence[Job], checkout: Path) -> Iterator[Outcome]:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ConnectionError("server is gone") from None
        yield from ()

    fan_out = or_else(dying, in_threads(1), told.append)
    said = "stopped in mid-sweep; give the same command again"
    with pytest.raises(Interrupted, match=said) as caught, stoppable("in mid-sweep"):
        list(fan_out(jobs, tmp_path))
    assert (caught.value.exit_code, told) == (130, [])


def test_a_runner_that_was_asked_for_and_cannot_run_is_an_error_unless_threads_are_allowed() -> None:
    events: list[Event] = []
    params = parse_params({"sweep": {"runner": "dask"}})
    with pytest.raises(SweepError, match=r"sweep\.runner is dask, and it cannot run points \(TypeError: cannot pickle"):
        _giving_up(params, events.append)(TypeError("cannot pickle '_thread.RLock' object"))
    _giving_up(parse_params({"sweep": {"runner": "dask", "fallback": True}}), events.append)(TypeError("x"))
    assert [event.kind for event in events] == ["warning"]


def test_second_sweep_in_a_checkout_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    program = "import time; from pathlib import Path; from filelock import FileLock; import os\n"
    program += "Path('.cache/sweep').mkdir(parents=True); Path('.cache/sweep/sweep.pid').write_text(str(os.getpid()))\n"
    program += "with FileLock('.cache/sweep/sweep.lock'): print('in', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, stdout=-1, text=True
    ) as first:
        assert first.stdout
        assert first.stdout.readline() == "in\n"
        with pytest.raises(SweepError, match=rf"running in .* already \(process {first.pid}\)"), only_one(tmp_path):
            pass
        first.kill()
    with only_one(tmp_path):
        assert (tmp_path / ".cache/sweep/sweep.pid").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize(
    ("axes", "complaint"),
    [
        ({"prune.scop": ["free"]}, "did you mean 'scope'"),
        ({"prune.round_to": [8, 0]}, "prune.round_to = 0"),
        ({"percents": [[10]]}, "not for a sweep to change"),
        ({"prune.scope": []}, "has no values"),
    ],
)
def test_wrong_axes_are_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axes: dict[str, list[object]], complaint: str
) -> None:
    dvc = FakeDvc(tmp_path, Curves(48, 62), monkeypatch, axes=axes)
    with pytest.raises(ConfigError, match=complaint):
        sweep(dvc)
    assert dvc.ran == []


def test_optuna_drops_hopeless_points_before_finetuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dvc = FakeDvc(tmp_path, Curves(48, 62), monkeypatch, sampler="optuna", trials=16)
    result, events = sweep(dvc)
    dropped = [point for point in result.points if point.status == "pruned"]
    assert dropped
    assert all(point.before and not point.deployed for point in dropped)
    assert sum(event.kind == "dropped" for event in events) == len(dropped)
    assert dvc.count("finetune") == result.finetunings < len(result.points)
    assert result.winner in result.front
    again, _ = sweep(dvc)
    assert again.key == result.key
