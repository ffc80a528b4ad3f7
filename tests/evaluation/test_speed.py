import numpy as np
import pytest
import torch

from yoloslim.errors import ConfigError
from yoloslim.evaluation.speed import measure_against, measure_in_turn, measure_latency, measure_speedup
from yoloslim.heads import AnchorHead


class Clock:
    """Stands still unless somebody takes time, so that a busy machine changes nothing."""

    seconds = 0.0

    def perf_counter(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    Sleeper.clock = Clock()
    monkeypatch.setattr("yoloslim.evaluation.speed.time", Sleeper.clock)
    return Sleeper.clock


class Sleeper:
    """A predictor that takes the given milliseconds, one after the other."""

    clock: Clock
    backend, preprocessing = "sleeper", "none"
    head, classes, imgsz = AnchorHead(strides=(8,), anchors=(((8, 8),),)), ("a",), 32

    def __init__(self, *milliseconds: float) -> None:
        self.milliseconds, self.shapes, self.threads = list(milliseconds), [], 0

    def set_threads(self, threads: int) -> None:
        self.threads = threads
        torch.set_num_threads(threads)

    def predict(self, images: np.ndarray) -> list[np.ndarray]:
        self.shapes.append(images.shape)
        self.clock.seconds += self.milliseconds.pop(0) / 1000
        return []


def test_the_median_of_the_timed_calls_counts() -> None:
    sleeper = Sleeper(200, 200, 10, 10, 80, 10, 10)  # two calls warm up, one outlier
    result = measure_latency(sleeper, batch=4, warmup=2, repeats=5)
    assert result["latency_ms"] == pytest.approx(10)
    assert result["latency_p50_ms"] == result["latency_ms"]
    assert result["latency_p90_ms"] == pytest.approx(52)  # 10 + 0.6 (80 - 10)
    assert result["fps"] == pytest.approx(400)
    assert sleeper.shapes == [(4, 32, 32, 3)] * 7


def test_threads_are_set_and_the_process_gets_its_own_back() -> None:
    before = torch.get_num_threads()
    sleeper = Sleeper(1)
    result = measure_latency(sleeper, warmup=0, repeats=1, threads=before + 1)
    assert result["latency_threads"] == before + 1
    assert sleeper.threads == before + 1
    assert torch.get_num_threads() == before


def test_speedup_is_the_median_of_paired_ratios() -> None:
    quick = Sleeper(7, 50, 7, 5, 7, 10, 7, 20)  # every second call is timed
    slow = Sleeper(90, 1, 90, 20, 90, 40, 90, 40)
    assert measure_speedup(quick, slow, warmup=1, repeats=3) == pytest.approx(4)


def test_speedups_and_latencies_of_a_session_agree_where_other_programs_slow_half_of_it() -> None:
    dense = Sleeper(*[99, 8] * 3, *[99, 40] * 2)
    small = Sleeper(99, 4, *[99, 20] * 2, 99, 20, 99, 20)  # slowed in two turns in which the dense one was not
    found = measure_in_turn({"baseline": dense, "50": small}, "baseline", warmup=1, repeats=4)
    dense_ms, small_ms = (found[name]["latency_ms"] for name in ("baseline", "50"))
    assert found["50"]["speedup"] == pytest.approx(np.median([8 / 20, 8 / 20, 2, 2]))
    assert dense_ms / small_ms == pytest.approx(found["50"]["speedup"])
    assert found["50"]["fps"] == pytest.approx(1000 / small_ms)
    assert found["50"]["latency_p90_ms"] == pytest.approx(max(20, small_ms))


def test_models_of_one_session_agree_with_each_other() -> None:
    dense = Sleeper(*[99, 8] * 4, 99, 80)  # every second call is timed; the last turn is an outlier for both
    small = Sleeper(*[99, 2] * 4, 99, 20)
    found = measure_in_turn({"baseline": dense, "50": small}, "baseline", warmup=1, repeats=4)
    assert {name: values["latency_ms"] for name, values in found.items()} == pytest.approx({"baseline": 8, "50": 2})
    assert {name: values["speedup"] for name, values in found.items()} == pytest.approx({"baseline": 1, "50": 4})
    assert found["50"]["fps"] == pytest.approx(500)
    assert found["50"]["latency_session"] == 2


STALLED, DENSE = [9.0, 0.5, 10.0, 12.0], [0.6, 0.5, 0.5, 0.6]
"""Timed calls of threads that wait for one another beside other programs, and of a dense model that does not care."""


@pytest.mark.parametrize(
    ("sessions", "busy", "known"),
    [
        ([STALLED], 0.0, True),  # on a quiet machine nobody else is to blame
        ([STALLED, [0.6, 0.5, 0.5, 0.6]], 2.0, True),
        ([STALLED, STALLED], 2.0, False),
    ],
)
def test_a_latency_that_cannot_be_right_is_measured_again_and_then_left_out(
    sessions: list[list[float]], busy: float, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    others(monkeypatch, *[(0.0, 0.0, 0.0), (1.0, busy, 0.0)] * len(sessions))
    small = Sleeper(*[each for session in sessions for ms in session for each in (99, ms)])
    dense = Sleeper(*[each for _ in sessions for ms in DENSE for each in (99, ms)])
    small.backend = "small"
    found = measure_against(small, dense, warmup=0, repeats=4)
    assert not small.milliseconds
    if known:
        expected = np.median(np.divide(DENSE, sessions[-1]))
        assert found["speedup"] == pytest.approx(expected)
        assert found["latency_ms"] == pytest.approx(0.55 / expected)
        assert found["latency_other_cores"] == busy
    else:
        assert found == {
            "latency_unknown": "its calls say 0.0583 times as fast as the dense model by their median, 1 by the "
            "fastest, while other programs used 2.0 core(s)",
        }


def test_counts_below_one_are_refused() -> None:
    with pytest.raises(ConfigError, match="repeats=0"):
        measure_latency(Sleeper(), repeats=0)


def test_a_latency_taken_beside_other_work_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    others(monkeypatch, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (2.0, 3.0, 1.0))
    result = measure_latency(Sleeper(5), warmup=0, repeats=1)
    assert result["latency_other_cores"] == 1.0
    assert caplog.messages == [
        "sleeper: latency 5.00 ms, while other programs used 1.0 core(s): too long to be compared"
    ]


@pytest.mark.parametrize(
    ("milliseconds", "busy", "calls"),
    [(600, 3.0, 5), (600, 1.0, 9), (300, 3.0, 9)],  # two calls before: long and disturbed, long, disturbed
)
def test_few_calls_do_where_other_programs_make_them_long(
    milliseconds: float, busy: float, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    others(monkeypatch, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (2.0, busy, 1.0), (4.0, busy, 1.0))
    sleeper = Sleeper(*[milliseconds] * 11)
    assert measure_latency(sleeper, warmup=2, repeats=9)["latency_ms"] == pytest.approx(milliseconds)
    assert len(sleeper.shapes) == 2 + calls


def others(monkeypatch: pytest.MonkeyPatch, *readings: tuple[float, float, float]) -> None:
    """Seconds of the clock, of all cores, and of this process, as they will be read."""
    left = iter(readings)
    monkeypatch.setattr("yoloslim.evaluation.other_work.OtherWork._read", staticmethod(lambda: next(left)))
