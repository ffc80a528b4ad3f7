import subprocess
import sys
import time

import pytest

from yoloslim.evaluation import other_work
from yoloslim.evaluation.other_work import OtherWork, disturbed


class Clocks:
    """Stands in for the system's clocks: seconds that have passed, all cores at work, and this process."""

    def __init__(self, *readings: tuple[float, float, float]) -> None:
        self.rest = list(readings)

    def __call__(self) -> tuple[float, float, float]:
        return self.rest.pop(0)


def test_the_work_of_others_is_what_is_left_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OtherWork, "_read", staticmethod(Clocks((10, 500, 40), (12, 503.5, 42))))
    with OtherWork() as others:
        pass
    assert others.cores == pytest.approx(0.75)  # 3.5 s at work in 2 s, 2 of them ours


def test_rounding_never_makes_it_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OtherWork, "_read", staticmethod(Clocks((0, 0, 0), (1, 0.99, 1.0))))
    with OtherWork() as others:
        pass
    assert others.cores == 0


def test_a_busy_loop_of_another_program_is_seen_and_our_own_is_not() -> None:
    loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        before = time.process_time()
        with OtherWork() as others:
            time.sleep(0.5)
        assert others.cores > 0.2  # a whole core, but for what other tests take
        assert time.process_time() - before < 0.3
    finally:
        loop.kill()
        loop.wait()


@pytest.mark.parametrize(("cores", "is_disturbed"), [(None, False), (0.0, False), (0.2, False), (0.21, True)])
def test_a_desktop_at_rest_disturbs_nothing(cores: float | None, is_disturbed: bool) -> None:
    assert disturbed(cores) is is_disturbed


def test_the_sentence_names_the_cores() -> None:
    assert other_work.while_others(1.26) == "other programs used 1.3 core(s): too long to be compared"


@pytest.mark.parametrize(
    ("others", "threads", "cores", "missed"),
    [(1.0, 2, 2, 1.0), (1.0, 1, 2, 0.0), (1.5, 1, 2, 1.5), (0.1, 2, 2, 0.0), (3.0, 2, 8, 0.0)],
)
def test_only_cores_that_the_threads_want_are_missed(others: float, threads: int, cores: int, missed: float) -> None:
    assert other_work.taken_away(others, threads, cores) == missed
