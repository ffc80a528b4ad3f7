"""Speeds are timed once for a model, its settings and a quiet machine; other thresholds do not time again."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny import tiny_detector
from yoloslim.config import Params, parse_params
from yoloslim.models.store import save_model
from yoloslim.stages import speeds
from yoloslim.stages.costs import measure_cost
from yoloslim.stages.speeds import Speed, known_speed

Ask = Callable[..., Speed]


class Timer:
    """Gives another latency every time, and how many cores others used meanwhile."""

    def __init__(self, others: float = 0.0) -> None:
        self.asked, self.others = 0, others

    def __call__(self) -> Speed:
        self.asked += 1
        return {"latency_ms": float(self.asked), "latency_other_cores": self.others}


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Path(name).write_text(name)

    def known(timer: Timer, file: str = "a", threads: int = 2, params: Params | None = None) -> Speed:
        return known_speed(params or parse_params({}), "torch", [Path(file)], [threads], timer)

    return known


def test_another_threshold_times_nothing_again(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    timer = Timer()
    first = ask(timer)
    assert not caplog.records
    assert ask(timer, params=parse_params({"evaluation": {"iou_thres": 0.5, "conf_thres": 0.01}})) == first
    assert timer.asked == 1
    assert "speed as measured on" in caplog.text


@pytest.mark.parametrize("other", [{"file": "b"}, {"threads": 1}])
def test_another_model_or_number_of_threads_is_timed(ask: Ask, other: dict[str, object]) -> None:
    timer = Timer()
    ask(timer)
    assert ask(timer, **other)["latency_ms"] == 2


def test_changed_weights_are_timed(ask: Ask) -> None:
    timer = Timer()
    ask(timer)
    Path("a").write_text("trained again")
    assert ask(timer)["latency_ms"] == 2


def test_changed_code_another_version_or_machine_is_timed(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    timer = Timer()
    ask(timer)
    for place, value in (
        ("version", lambda package: "0"),
        ("platform.node", lambda: "another"),
        ("Library.fingerprint", lambda self, path: "edited"),
    ):
        monkeypatch.setattr(f"yoloslim.stages.known.{place}", value)
        before = timer.asked
        ask(timer)
        assert timer.asked == before + 1, place


def test_what_other_programs_disturbed_is_timed_again(ask: Ask) -> None:
    timer = Timer(others=1.0)
    ask(timer)
    timer.others = 0.0
    assert ask(timer)["latency_ms"] == ask(timer)["latency_ms"] == 2


def test_force_times_again_and_keeps_that(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    timer = Timer()
    ask(timer)
    with monkeypatch.context() as forced:
        forced.setattr(speeds, "is_forced", lambda: True)
        assert ask(timer)["latency_ms"] == 2
    assert ask(timer)["latency_ms"] == 2


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_memory_is_as_good_as_none(ask: Ask, content: bytes) -> None:
    timer = Timer()
    ask(timer)
    (kept,) = Path(".cache/speed").glob("*.json")
    kept.write_bytes(content)
    assert ask(timer)["latency_ms"] == 2


def test_a_model_file_is_timed_once_and_one_in_memory_always(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speeds, "disturbed", lambda cores: False)
    model, file, params = tiny_detector(), Path("model.safetensors"), parse_params({"imgsz": 64})
    save_model(model, file)
    first = measure_cost(params, model, file)
    assert measure_cost(params, model, file) == first
    assert measure_cost(params, model)["latency_ms"] != first["latency_ms"]
    assert first.keys() >= {"params_m", "gflops", "latency_ms", "fps", "backend", "latency_threads"}
