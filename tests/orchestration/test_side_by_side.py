"""What `make repro` runs: branches overlap, all that is measured comes after them, and nothing runs twice."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.orchestration.tiny import environment, project
from tests.orchestration.toy import add_parts
from yoloslim.config import Params, parse_params
from yoloslim.orchestration import side_by_side
from yoloslim.orchestration.points import taught_by
from yoloslim.orchestration.process import CommandError
from yoloslim.orchestration.side_by_side import branches, hold, is_faster

PARAMS = "percents: [30, 50]\nprobes: []\nsweep: {workers: 2}\ntracking: {enabled: false}\n"
BRANCH = ("prune", "finetune", "export", "atc")


def repro(line: str, root: Path, log: Path, **more: str) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """What the log of the stages says after a line was typed: `start prune@30`."""
    log.unlink(missing_ok=True)
    settings = {"cwd": root, "env": environment(log, **more), "capture_output": True, "text": True}
    done = subprocess.run(["bash", "-c", line], **settings, check=False)
    return [line.rsplit(" ", 1)[0] for line in log.read_text().splitlines()] if log.is_file() else [], done


def overlap(lines: list[str]) -> bool:
    """Whether some stage began before the one that began before it ended."""
    return any(a.startswith("start") and b.startswith("start") for a, b in pairwise(lines))


def test_branches_are_all_up_to_what_is_measured_and_the_short_ones_come_before_the_last_training() -> None:
    alone = {"finetune": {"teacher": "models/baseline", "distill_output": 0}}
    assert list(branches(parse_params({"percents": [30, 50]} | alone)).items()) == [
        ("dense", ("control@dense", "export_control@dense", "atc_control@dense")),
        ("30 %", ("prune@30", "finetune@30", "export@30", "atc@30")),
        ("baseline", ("export_baseline", "atc_baseline")),
        ("50 %", ("prune@50", "finetune@50", "export@50", "atc@50")),
    ]


def test_a_control_that_teaches_comes_before_the_percents() -> None:
    found = branches(parse_params({"percents": [30, 50]}))
    assert list(found) == ["30 %", "baseline", "dense", "50 %"]
    assert found["dense"] == ("export_control@dense", "atc_control@dense")
    assert taught_by(Params()) == ("control@dense",)
    waits = parse_params({"finetune": {"distill_output": 0}})  # DVC waits for what teacher names
    assert taught_by(waits) == ("control@dense",)
    assert taught_by(parse_params({"finetune": {"teacher": "models/baseline"}})) == ()


def test_threads_that_would_change_the_weights_are_left_alone() -> None:
    two = Params().sweep.model_copy(update={"workers": 2})
    assert is_faster(Params(sweep=two))
    for changed in ({"share": 0}, {"devices": 2}):
        assert not is_faster(Params(sweep=two, train=Params().train.model_copy(update=changed)))
    assert not is_faster(Params(sweep=two.model_copy(update={"workers": 1})))


def test_a_second_make_repro_in_the_same_folder_says_which_process_is_at_work_and_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = "from pathlib import Path; from yoloslim.orchestration.side_by_side import hold; import os, sys\n"
    first += "hold(Path()); code = 'print(1, flush=True); input()'\n"
    first += "os.execv(sys.executable, [sys.executable, '-c', code])"  # as it becomes `dvc repro`
    half = tmp_path / ".dvc/tmp/rwlock"
    half.parent.mkdir(parents=True)
    half.write_text("{")  # which the first may be writing just now
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    monkeypatch.chdir(tmp_path)
    with subprocess.Popen([sys.executable, "-c", first], cwd=tmp_path, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        with pytest.raises(SystemExit) as ended:
            side_by_side.main()
        assert str(ended.value) == (
            "error: `make repro`, `dvc repro` or a sweep is at work in this folder already "
            f"(process {process.pid}); wait for it"
        )
        assert half.read_text() == "{"
        process.communicate("\n")
    hold(tmp_path)
    assert (tmp_path / ".dvc/tmp/make-repro.pid").read_text() == str(os.getpid())


@pytest.mark.slow
def test_branches_run_side_by_side_then_the_rest_and_nothing_twice(tmp_path: Path) -> None:
    root, log = project(tmp_path / "tiny", PARAMS), tmp_path / "log"
    add_parts(root)
    busy = root / ".dvc/tmp/rwlock"
    at_work = {"pid": os.getpid(), "cmd": "dvc repro"}
    busy.write_text(json.dumps({"write": {str(root / "models/baseline"): at_work}}))
    lines, done = repro("make repro", root, log)
    assert f"error: `make repro`, `dvc repro` or a sweep is at work in this folder already (process {os.getpid()})" in (
        done.stderr
    )
    assert (lines, done.returncode) == ([], 2)
    busy.unlink()
    lines, done = repro("make repro", root, log, STAGE_SECONDS="1")
    assert done.returncode == 0, done.stderr
    first = lines.index("start measure@baseline")
    assert max(lines.index(f"end {name}@{p}") for name in BRANCH for p in (30, 50)) < first
    assert overlap(lines[:first])
    assert not overlap(lines[first:])
    assert len(set(lines)) == len(lines)
    assert "50 % | Running stage 'finetune@50':" in done.stdout
    again, done = repro("python -m yoloslim.orchestration.side_by_side", root, log)
    assert set(again) <= {"start code@baseline", "end code@baseline"}
    assert done.returncode == 0, done.stderr


def test_a_branch_that_fails_is_named_and_the_others_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    ended: list[tuple[str, ...]] = []

    def fake_reproduce(targets: tuple[str, ...], *_: object, everything: bool, **__: object) -> None:
        assert everything == ("prune@50" in targets)  # the third of two at a time
        if "prune@30" in targets:
            raise CommandError("the disk hums")
        _[2]("working")  # type: ignore[operator]
        ended.append(targets)

    monkeypatch.setattr(side_by_side, "reproduce", fake_reproduce)
    found = branches(
        parse_params({"percents": [30, 50], "finetune": {"teacher": "models/baseline", "distill_output": 0}})
    )
    assert side_by_side.run_branches(found, tmp_path, 2, said.append) == {"30 %": "the disk hums"}
    assert sorted(ended) == sorted(stages for name, stages in found.items() if name != "30 %")
    assert sorted(said) == ["    50 % | working", "   dense | working", "baseline | working"]
