"""How many cores there are, and who decides how many are used."""

import os
from pathlib import Path

import pytest

from yoloslim import cores
from yoloslim.cores import at_most_cores, thread_count, usable_cores


@pytest.mark.parametrize(
    ("own", "limits", "expected"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, 64),
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/outside", {"cpu.max": "150000 100000"}, 2),  # as the kernel calls what a container sees as the topmost
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ("4:cpu:/docker/1", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ("4:cpuset:/", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 64),
    ],
)
def test_a_containers_quota_counts(
    own: str, limits: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yoloslim.cores.CGROUP", tmp_path)
    monkeypatch.setattr("yoloslim.cores.OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "own").write_text(f"{own}\n")
    for name, limit in limits.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{limit}\n")
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
    cores._tell.cache_clear()
    monkeypatch.setattr("yoloslim.cores.usable_cores", lambda: 4)
    if outside is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", outside)
    with caplog.at_level("INFO"):
        assert [thread_count(asked, "train.threads") for _ in range(3)] == [expected] * 3
    assert (said in caplog.text, len(caplog.records)) == (True, bool(said))


def test_threads_of_a_runtime_are_no_more_than_the_cores(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cores._tell.cache_clear()
    monkeypatch.setattr("yoloslim.cores.usable_cores", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which is no word about how something is to be timed
    assert [at_most_cores(asked, "evaluation.threads") for asked in (1, 4, 99)] == [1, 4, 4]
    assert caplog.messages == ["evaluation.threads is 99, but this process may use 4 core(s): taking 4"]
