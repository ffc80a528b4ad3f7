"""Sweeps on workers in checkouts of their own, against a real scheduler of Dask; `test_typed.py` has Ray's."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

import pytest

from tests.orchestration import tiny
from tests.ports import free_port
from yoloslim.config import parse_params
from yoloslim.config.sweep import Runner
from yoloslim.errors import ConfigError, SweepError
from yoloslim.orchestration.points import Job, Outcome
from yoloslim.orchestration.runners import _outcome_of, fan_out_by, task_runner
from yoloslim.orchestration.server import prefect_server
from yoloslim.orchestration.stopping import Stop
from yoloslim.orchestration.sweep_flow import as_flow, sweep
from yoloslim.orchestration.variant_run import Event
from yoloslim.orchestration.worktrees import FOLDER, cache_of, git, own_checkout, take_snapshot

JOBS = [Job("probe", percent) for percent in (10, 20, 30, 40)]
PARAMS = "percents: []\nprobes: [10, 20, 30, 40]\nsweep: {workers: 2}\n"


@pytest.fixture
def log(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in tiny.environment(tmp_path / "log.txt", PREFECT_HOME=str(home)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STAGE_SECONDS", "3")
    return tmp_path / "log.txt"


@pytest.fixture
def main(tmp_path: Path, log: Path) -> Path:
    """The driver's checkout, in which the shared stages have run."""
    root = tiny.project(tmp_path / "main", PARAMS)
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q", "ranking"], cwd=root, check=True)
    return root


@pytest.fixture
def workers(tmp_path: Path, main: Path, log: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A scheduler and two worker processes: one in a worktree that a person made, one that makes its own."""
    own = tmp_path / "own"
    git(main, "worktree", "add", "--quiet", "--detach", str(own))
    (own / ".dvc/config.local").write_text(f"[cache]\n    dir = {main / '.dvc/cache'}\n")
    (tmp_path / "elsewhere").mkdir()
    address = tmp_path / "scheduler.json"
    file = ["--scheduler-file", str(address), "--no-dashboard"]
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", *file, "--host", "127.0.0.1", "--port", "0"]
    started = [subprocess.Popen(scheduler)]
    options = [*file, "--nthreads", "1", "--nworkers", "1", "--no-nanny", "--local-directory", str(tmp_path / "spill")]
    for name, folder in (("own", own), ("bare", tmp_path / "elsewhere")):
        command = [sys.executable, "-m", "distributed.cli.dask_worker", *options, "--name", name]
        started.append(subprocess.Popen(command, cwd=folder))
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def fan_out(runner: Runner, address: str, checkout: Path) -> Iterator[Outcome]:
    """Run the jobs in a flow, as a sweep does."""
    from prefect import flow
    from prefect.settings import PREFECT_API_URL, temporary_settings

    @flow(name="trial", task_runner=task_runner(runner, address, 2))
    def trial() -> list[Outcome]:
        return list(fan_out_by(runner)(JOBS, checkout))

    with temporary_settings(restore_defaults={PREFECT_API_URL}), prefect_server():
        yield from trial()


@pytest.mark.slow
def test_points_spread_over_dask_workers_and_a_killed_one_loses_nothing(
    tmp_path: Path, main: Path, log: Path, workers: list[subprocess.Popen[bytes]]
) -> None:
    from distributed import Client

    with Client(scheduler_file=str(tmp_path / "scheduler.json"), timeout=300) as client:
        client.wait_for_workers(2, timeout=300)
        address = client.scheduler.address
    worktree = main / FOLDER / "0"

    def kill() -> None:
        """SIGKILL one worker in the middle of a point."""
        while not any(event == "start" and where == worktree for event, _, where in tiny.events(log)):
            time.sleep(0.05)
        workers[2].send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    outcomes = list(fan_out("dask", address, main))
    killer.join(60)
    assert workers[2].wait(60) == -signal.SIGKILL
    assert {outcome.job for outcome in outcomes} == set(JOBS)
    assert [outcome.error for outcome in outcomes] == [""] * len(JOBS)
    ran = [(stage, where) for event, stage, where in tiny.events(log) if event == "start" and "probe" in stage]
    assert {where for _, where in ran} == {tmp_path / "own", worktree}  # both worked, and nothing ran in the driver's
    assert {stage for stage, _ in ran} == {f"probe@{job.percent}" for job in JOBS}
    assert len(ran) <= len(JOBS) + 1  # but for the point that was killed, none ran twice
    _everything_is_in_the_drivers_checkout(main, log)


def _everything_is_in_the_drivers_checkout(main: Path, log: Path) -> None:
    before = tiny.events(log)
    for job in JOBS:
        assert (main / f"metrics/probe/{job.percent}.json").is_file()
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", *(f"probe@{job.percent}" for job in JOBS)],
        **{"cwd": main, "capture_output": True, "text": True, "check": True},
    )
    assert "Running stage" not in done.stdout
    assert tiny.events(log) == before


@pytest.mark.slow
def test_a_worker_takes_the_drivers_state_even_from_another_clone(
    tmp_path: Path, main: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another machine: no shared repository, uncommitted changes, a new file."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(main), str(clone)], check=True)
    (main / "params.yaml").write_text("percents: []\nprobes: [55]\n")
    (main / "new.txt").write_text("new")
    head, status = git(main, "rev-parse", "HEAD"), git(main, "status", "--porcelain")
    snapshot = take_snapshot(main)
    assert (git(main, "rev-parse", "HEAD"), git(main, "status", "--porcelain")) == (head, status)
    assert snapshot.cache == cache_of(main) == (main / ".dvc/cache").resolve()
    monkeypatch.chdir(clone)
    with own_checkout(snapshot) as place:
        assert place.checkout == clone
        assert (clone / "params.yaml").read_text() == "percents: []\nprobes: [55]\n"
        assert (clone / "new.txt").read_text() == "new"
        assert (clone / "dvc.lock").read_text() == (main / "dvc.lock").read_text()


def test_a_folder_without_repository_is_refused_with_what_git_said(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="not a git repository"):
        take_snapshot(tmp_path)


def test_ctrl_c_is_not_taken_for_a_lost_worker() -> None:
    class Waited:
        def result(self) -> Outcome:
            raise Stop(signal.SIGINT)

    with pytest.raises(Stop):
        _outcome_of(Waited(), JOBS[0])


def test_threads_have_no_address() -> None:
    with pytest.raises(ConfigError, match=r"sweep\.address is 'tcp://a:1', but threads have none"):
        task_runner("threads", "tcp://a:1", 2)


@pytest.mark.parametrize(("runner", "address"), [("dask", "tcp://{}"), ("dask", "{}"), ("ray", "ray://{}")])
@pytest.mark.parametrize("fallback", [False, True])
def test_an_address_where_nobody_listens_is_said_before_anything_starts(
    runner: Runner, address: str, fallback: bool, tmp_path: Path
) -> None:
    address = address.format(f"127.0.0.1:{free_port()}")
    params = parse_params({"sweep": {"runner": runner, "address": address, "fallback": fallback}})
    events: list[Event] = []
    reason = f"nobody listens at sweep.address {address}, Connection refused; an empty one starts workers here"
    cannot = f"sweep.runner is {runner}, and it cannot run points (ConnectionError: {reason})"
    for module in ("prefect", "yoloslim.orchestration.shown"):  # which may take longer than any waiting
        import_module(module)
    begun = time.monotonic()
    if fallback:
        assert as_flow(lambda fan_out, listen: fan_out, params, tmp_path, 1, events.append)
        said = f"{cannot}; going on in threads here, as sweep.fallback allows"
        assert [event.text for event in events] == [said]
    else:
        with pytest.raises(SweepError, match=re.escape(f"{cannot}; what was finished is kept")):
            as_flow(lambda *_: None, params, tmp_path, 1, events.append)
    assert time.monotonic() - begun < 50  # the clients of Dask and Ray wait a minute


@pytest.mark.parametrize(("runner", "name"), [("ray", "Ray"), ("dask", "Dask")])
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_listens_and_is_no_scheduler_is_said_within_seconds(
    runner: Runner, name: str, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yoloslim.orchestration.runners.HANDSHAKE_S", 0.5)
    import_module(f"prefect_{runner}")  # which may take longer than any waiting
    with answering(answer) as address:
        reason = f"what listens at sweep.address {address} does not answer as {name}'s scheduler; an empty one starts"
        begun = time.monotonic()
        with pytest.raises(ConnectionError, match=re.escape(reason)):
            task_runner(runner, address, 1)
        assert time.monotonic() - begun < 60  # Ray itself takes more than 100 s


def test_a_server_of_grpc_passes_for_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """What real ones answer with: their settings, here none."""
    monkeypatch.setattr("yoloslim.orchestration.runners._ray", lambda address, workers: address)
    with answering(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])) as address:
        assert task_runner("ray", address, 1) == address


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A port that accepts, says this, and keeps silent."""
    kept: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                kept.append(server.accept()[0])
                kept[-1].sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    for wire in kept:
        wire.close()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sweep\.address 'tcp://a:b' is no address, such as tcp://host:8786"):
        task_runner("dask", "tcp://a:b", 2)


def test_a_missing_package_is_named_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    params = parse_params({"sweep": {"runner": "dask", "fallback": True}})
    with pytest.raises(SweepError, match=r"sweep\.runner is dask, which needs `pip install 'yoloslim\[dask\]'`"):
        sweep(params, lambda event: None)
