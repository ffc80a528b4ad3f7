import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.orchestration.fake_dvc import FakeDvc
from tests.sweeping.curves import Curves
from yoloslim.config import SweepResult, load_params
from yoloslim.orchestration.dashboard import Dashboard, summary
from yoloslim.orchestration.driver import run_sweep
from yoloslim.orchestration.variant_run import in_threads


def shown(dvc: FakeDvc, width: int, *, terminal: bool) -> tuple[str, SweepResult]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, no_color=True)
    with Dashboard(console) as dashboard:
        params = load_params(dvc.root / "params.yaml")
        result = run_sweep(dvc.root, params, in_threads(1), 1, dashboard.listen)
    console.print(summary(result, width), highlight=False)
    return stream.getvalue(), result


@pytest.fixture
def dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDvc:
    return FakeDvc(tmp_path, Curves(48, 62), monkeypatch, low=40)


def test_where_there_is_no_terminal_every_event_is_one_plain_line(dvc: FakeDvc) -> None:
    text, _ = shown(dvc, 200, terminal=False)
    assert "\x1b" not in text
    told = "first guess: the cliff before finetuning is at 48 %; 60 % is as near as halving allows"
    assert f"finetune 60 %: {told}" in text
    assert "probe 60 %: map50 0.05, params_m 0.774\n" in text  # timed beside others, which says nothing


def test_the_end_names_the_winner_why_its_files_and_the_cost(dvc: FakeDvc) -> None:
    text, result = shown(dvc, 200, terminal=False)
    assert f"Winner 65 %: the smallest of {sum(not p.missed for p in result.points if p.deployed)} finetuned" in text
    for path in ("models/finetune/65/", "models/export/65/", "models/atc/65/", "metrics/sweep.json"):
        assert path in text
    assert "a 1 % grid would have finetuned 56. Before finetuning mAP falls off beyond 48 %." in text


@pytest.mark.parametrize("width", [46, 80, 140])
def test_no_line_is_wider_than_the_terminal(dvc: FakeDvc, width: int) -> None:
    dvc.broken["finetune@70"] = ["loss is not finite " * 10]
    stream = io.StringIO()
    _, result = shown(dvc, width, terminal=True)
    Console(file=stream, width=width, no_color=True).print(summary(result, width), highlight=False)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert any("65 %" in line and "winner" in line for line in lines)
    assert any("70 %" in line and "failed" in line for line in lines)
    assert (" why" in lines[1]) == (width == 140)


def test_without_a_winner_the_closest_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dvc = FakeDvc(tmp_path, Curves(48, 62), monkeypatch, low=60, max_size_mb=0.1)
    text, result = shown(dvc, 300, terminal=False)
    assert f"No winner: no point satisfies the constraints; {result.closest} % comes closest" in text


def test_times_taken_beside_other_programs_are_marked(dvc: FakeDvc) -> None:
    text, result = shown(dvc, 100, terminal=False)
    assert "*" not in text
    point = next(point for point in result.points if point.name == result.winner)
    point.deployed["latency_other_cores"] = 1.6
    stream = io.StringIO()
    Console(file=stream, width=100, no_color=True).print(summary(result, 100))
    assert f"{point.deployed['latency_ms']:.2f}*" in stream.getvalue()
    assert "* timed while other programs used the machine" in stream.getvalue()
