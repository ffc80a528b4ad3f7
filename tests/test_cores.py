"""How many cores there are, and who decides how many are used."""

import os
from pathlib import Path

import pytest

from yoloslim.cores import thread_count, usable_cores


@pytest.mark.parametrize(("limit", "expected"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64)])
def test_a_containers_quota_counts(limit: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yoloslim.cores.CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "cpu.max").write_text(limit)
    assert usable_cores() == expected


def test_affinity_counts() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("asked", "outside", "expected", "said"),
    [
        (0, None, 4, ""),
        (0, "2", 2, ""),
        (3, "2", 3, "train.threads is 3 and OMP_NUM_THREADS 2: train.threads counts"),
        (9, None, 4, "train.threads is 9, but this process may use 4 core(s): taking 4"),
        (0, "64", 4, ""),
        (0, "many", 4, ""),
    ],
)
def test_a_key_counts_before_the_environment_and_never_more_than_the_cores(
    asked: int,
    outside: str | None,
    expected: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("yoloslim.cores.usable_cores", lambda: 4)
    if outside is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", outside)
    with caplog.at_level("INFO"):
        assert thread_count(asked, "train.threads") == expected
    assert caplog.text == "" if not said else said in caplog.text
