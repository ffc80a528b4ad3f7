"""The race on a few drawn scenes: what it starts in which order, what it keeps, and the table."""

import dataclasses
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.contestants import WAYS
from benchmarks.of_share import of_share
from benchmarks.race import check_same, runs_of, spread
from benchmarks.race_run import Run, Setup
from benchmarks.racer import Racer
from benchmarks.shrink import Rule

from tests.project import ROOT
from yoloslim.data.scenes.generate import generate_scenes
from yoloslim.errors import ConfigError, PruneError
from yoloslim.files import read_json
from yoloslim.models.detector import Detector, build_detector

SETUP = Setup(
    "/a.tar", ("", "", ""), "test", "yolov5n", 64, 8, 1.0, "", (1, 1, 1), 5, ("AdamW", 0.002), 0.03, 1, "gflops"
)


def test_nothing_starts_before_what_it_needs_and_nothing_runs_twice() -> None:
    runs = runs_of(["slimming-gamma-[18]", "source", "dense"], [0, 1], [0.7, 0.5])
    assert len(runs) == len(set(runs)) == 2 * (1 + 2 + 1 + 3 * 2)  # dense model, penalties, control, three ways at two
    for place, run in enumerate(runs):
        assert set(run.needs) <= set(runs[:place])
    assert Run(1, "slimming-gamma-8", 0.5).needs == (Run(1, "sparse-slimming"),)
    assert Run(1, "dense").needs == (Run(1, "start"),)


def test_a_way_that_is_taught_runs_behind_its_teacher() -> None:
    run = Run(0, "none-gamma-8-both", 0.35)
    assert run.needs == (Run(0, "start"), Run(0, "dense"))
    assert runs_of([run.name], [0], [run.share]) == [Run(0, "start"), Run(0, "dense"), run]


@pytest.mark.parametrize(
    ("patterns", "shares", "said"),
    [(["fastest"], [0.5], "no way is called fastest; there are dense, "), (["dense"], [1.5], "between 0 and 1")],
)
def test_what_cannot_be_raced_is_refused(patterns: list[str], shares: list[float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        runs_of(patterns, [0], shares)


def test_a_folder_keeps_to_one_race_wherever_its_pack_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_same(SETUP)
    check_same(dataclasses.replace(SETUP, pack="/elsewhere/a.tar", device="cpu", deadline=3.0))
    with pytest.raises(ConfigError, match=re.escape("a race with epochs [1, 1, 1], and this one has epochs [1, 1, 2]")):
        check_same(dataclasses.replace(SETUP, epochs=(1, 1, 2)))


class Family:
    """Networks that take a share which their name, the share they were asked for with, tells."""

    def __init__(self, taken: Callable[[float], float], is_limit: bool = False) -> None:
        self.taken, self.is_limit = taken, is_limit
        self.asked: list[float] = []

    def search(self, share: float, step: float = 0, least: float = 0) -> tuple[float, float]:
        """Share of FLOPs and share that were found where widths go in steps and end somewhere."""

        def shrink(asked: float) -> Detector:
            self.asked.append(asked)
            if asked < least:
                raise PruneError("out of reach")
            small = build_detector("yolov5n", ("a",), 64)
            small.spec = small.spec.model_copy(update={"name": str(round(asked / step) * step if step else asked)})
            return small

        return of_share(share, shrink, lambda small: self.taken(float(small.spec.name)), self.is_limit)[1:]


def test_a_family_is_searched_for_the_share_that_was_asked_for() -> None:
    family = Family(lambda flops: 0.2 + 0.8 * flops**0.9)  # what does not shrink with the FLOPs
    flops, found = family.search(0.5)
    assert found == pytest.approx(0.5, rel=0.02)
    assert flops == pytest.approx(0.335, abs=0.02)
    assert len(family.asked) <= 5


def test_a_family_that_ends_before_the_share_gives_its_nearest_network() -> None:
    flops, found = Family(lambda flops: 0.4 + 0.6 * flops).search(0.5, least=0.3)
    assert 0.3 <= flops < 0.4
    assert found == pytest.approx(0.4 + 0.6 * flops)


def test_flops_are_a_limit_and_widths_go_in_steps() -> None:
    above = Family(lambda flops: flops * 1.06)
    assert above.search(0.595, step=0.1)[1] == pytest.approx(0.636)  # by latency: the nearest
    within = Family(lambda flops: flops * 1.06, is_limit=True)
    assert within.search(0.595, step=0.1)[1] == pytest.approx(0.53)


@pytest.mark.parametrize(("gains", "expected"), [(None, (4.0, None)), ((1.0, 0.5), (1.0, 0.5))])
def test_gains_of_the_loss_are_those_asked_for(
    gains: tuple[float, float] | None, expected: tuple[float, float | None]
) -> None:
    train = Racer(dataclasses.replace(SETUP, gains=gains, device="cpu")).train
    assert (train.obj_gain, train.cls_gain) == expected


def test_spread_is_the_sample_deviation() -> None:
    assert spread([0.5, 0.6]) == "0.550 ± 0.071"
    assert spread([-0.01], "+.3f") == "-0.010"
    assert spread([]) == ""


@pytest.mark.slow
def test_a_race_of_three_ways_goes_on_where_it_stopped(tmp_path: Path) -> None:
    (tmp_path / "scenes").mkdir()
    generate_scenes(tmp_path / "scenes", 0, 64, {"train": 16, "val": 4, "test": 4}, 1)
    with tarfile.open(tmp_path / "scenes.tar", "w") as tar:
        tar.add(tmp_path / "scenes", "VOC")
    command = [sys.executable, "-m", "benchmarks.race", str(tmp_path / "scenes.tar"), "--imgsz", "64", "--batch", "8"]
    command += ["--epochs", "1", "1", "1", "--shares", "0.5", "--by", "gflops", "--rounds", "3", "--work"]
    command += [str(tmp_path / "work"), "--sets", "train", "val", "test", "--ways"]

    def race(*more: str) -> str:
        done = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, timeout=3600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = race("none-gamma-8")
    assert re.findall(r"== (\S+)", first) == ["seed0/start", "seed0/none-gamma-8@0.5"]
    second = race("none-gamma-8", "dense", "narrow", "--jobs", "2")
    assert sorted(re.findall(r"== (\S+)", second)) == ["seed0/dense", "seed0/narrow@0.5"]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in second.splitlines() if row[:1] == "|"][2:]
    assert {row[1] for row in rows} == {"start", "dense", "narrow", "none-gamma-8"}
    work = tmp_path / "work"
    results = {r["way"]: r for r in read_json(work / "results.json")}
    assert results["dense"]["epochs"] == results["none-gamma-8"]["epochs"] == 2
    assert results["narrow"]["epochs"] == 3
    assert results["narrow"]["gflops"] == pytest.approx(results["dense"]["gflops"] / 2, rel=0.05)
    assert not list(work.rglob("checkpoint.pt"))


def test_all_ways_have_as_many_epochs_whatever_goes_before() -> None:
    racer = Racer(dataclasses.replace(SETUP, epochs=(30, 20, 15), device="cpu"))
    assert racer.after_dense(WAYS["none-gamma-16-output"]) == 35
    assert racer.after_dense(WAYS["slimming-gamma-8"]) == 15
    assert racer.after_dense(WAYS["none-gamma-16-output-rounds"]) == 25  # and 5 between each two of its cuts


def test_ways_are_called_by_penalty_ranking_and_multiple() -> None:
    assert WAYS["slimming-gamma-8"].penalty == "slimming"
    assert not WAYS["none-taylor-1"].penalty
    assert WAYS["narrow"].scratch
    (kept,) = WAYS["none-taylor_keep25-16"].shrink.args  # type: ignore[attr-defined]
    assert kept == Rule("taylor", 16, layer_keep=0.25)
