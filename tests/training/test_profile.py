import gzip
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.test_fit import task
from yoloslim.models.detector import Detector
from yoloslim.training.fit import Row, fit
from yoloslim.training.profile import Profile


def share_of(text: str, part: str) -> float:
    found = re.search(rf"^\| {part} \| [\d.]+ \| ([\d.]+) % \|$", text, re.MULTILINE)
    assert found, f"{part} is not in {text}"
    return float(found[1])


def profiled(folder: Path, **train: object) -> str:
    with_profile = fit(replace(task(1, train={"batch": 1, **train}), profile=folder)).model.state_dict()
    plain = fit(task(1, train={"batch": 1, **train})).model.state_dict()
    assert all(torch.equal(a, b) for a, b in zip(with_profile.values(), plain.values(), strict=True))
    return (folder / "profile.md").read_text()


def test_parts_of_a_step_add_up_and_change_no_weight(tmp_path: Path) -> None:
    for number in range(5):  # a busy machine may take a moment away anywhere, also from the rest
        text = profiled(tmp_path / f"new{number}")
        if share_of(text, "backward") > share_of(text, "rest"):
            break
    assert text.startswith("4 steps of ")  # of seven, the first three warm up
    parts = [share_of(text, part) for part in ("data", "forward", "loss", "backward", "update", "rest")]
    assert sum(parts) == pytest.approx(100, abs=0.5)
    assert share_of(text, "backward") > share_of(text, "rest")
    assert re.search(r"^\| `aten::[a-z_]+` \| \d+ \| [\d.]+ % \|$", text, re.MULTILINE)
    assert re.search(r"The first validation took \d+\.\d\d s\.", text)


def test_the_trace_names_the_parts(tmp_path: Path) -> None:
    profiled(tmp_path)
    events = json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))["traceEvents"]
    names = [event.get("name") for event in events]
    assert names.count("yoloslim forward") == names.count("yoloslim update") == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["profile.md", "trace.json.gz"]


@pytest.mark.parametrize("share", [0, 1])
def test_parts_add_up_whether_or_not_threads_compute_shares(
    tmp_path: Path, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("yoloslim.cores.usable_cores", lambda: 2)
    text = profiled(tmp_path, batch=2, share=share, threads=2)
    assert text.partition("\n")[0].endswith(" ms, cpu, 2 threads")
    parts = [share_of(text, part) for part in ("data", "forward", "loss", "backward", "update", "rest")]
    assert sum(parts) == pytest.approx(100, abs=0.5)


def test_the_first_validation_alone_counts_and_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    found = replace(task(3, train={"batch": 1, "val_every": 1}), profile=tmp_path)
    spent: list[float] = []

    def validate(model: Detector) -> Row:
        start = time.perf_counter()
        time.sleep(0.05 * (1 + len(spent)))
        row = task(1).validate(model)
        spent.append(time.perf_counter() - start)
        return row

    fit(replace(found, validate=validate))
    assert len(spent) == 3
    said = re.search(r"The first validation took (\d+\.\d\d) s\.", (tmp_path / "profile.md").read_text())
    assert said
    assert float(said[1]) == pytest.approx(spent[0], abs=0.02)
    assert len([m for m in caplog.messages if m.startswith("profile: ")]) == 1


def test_what_is_left_of_an_interrupted_epoch_may_be_too_short_and_the_next_is_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    profile = Profile(tmp_path, torch.device("cpu"), 1)
    for count, whole in ((2, False), (3, False), (6, True), (6, True)):
        for _ in profile.steps(range(count), whole):
            with profile.part("forward"):
                torch.ones(3) + 1
    assert (tmp_path / "profile.md").read_text().startswith("3 steps of ")
    assert not caplog.messages
    assert "profiler_start" not in capfd.readouterr().err


def test_an_epoch_that_is_too_short_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fit(replace(task(2, train={"batch": 3}), profile=tmp_path))
    assert [m for m in caplog.messages if m.startswith("no profile")] == [
        "no profile: an epoch has 3 step(s), and 3 warm up; lower the batch"
    ]
    assert not (tmp_path / "profile.md").exists()
