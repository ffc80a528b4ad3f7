"""Schedules that fire: a real Prefect server, a process worker and `serve`, on the stand-in pipeline."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.orchestration.toy import Toy
from tests.ports import free_port
from yoloslim.config import parse_params
from yoloslim.errors import ConfigError, SweepError
from yoloslim.orchestration.schedule import deploy

EVERY_MINUTE = {"cron": "* * * * *", "timezone": "Europe/Berlin"}


class Scheduled(Toy):
    """The stand-in pipeline with a server of its own."""

    def __init__(self, root: Path, home: Path) -> None:
        super().__init__(root)
        params = yaml.safe_load((root / "params.yaml").read_text())
        (root / "params.yaml").write_text(yaml.safe_dump(params | {"schedule": EVERY_MINUTE}, sort_keys=False))
        self.as_checkout()
        port = free_port()
        self.api, self.home = f"http://127.0.0.1:{port}/api", home
        self.environment |= {
            **{"PREFECT_HOME": str(home), "PREFECT_API_URL": self.api, "YOLOSLIM_CHECKOUT": str(root)},
            **{
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "PREFECT_API_REQUEST_TIMEOUT": "300",
                "PREFECT_SERVER_API_PORT": str(port),
                "CUDA_VISIBLE_DEVICES": "",
            },
        }
        self.processes = [self.start("prefect server start")]

    def start(self, line: str) -> subprocess.Popen[bytes]:
        log = (self.home / "log.txt").open("ab")
        return subprocess.Popen(
            ["bash", "-c", line],
            **{"cwd": self.root, "env": self.environment, "stdout": log, "stderr": log, "start_new_session": True},
        )

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            os.killpg(process.pid, 15)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.api + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.loads(answer.read() or "null")

    def wait(self, until: Any, seconds: float, what: str) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if found := until():
                    return found
            except OSError:
                pass
            time.sleep(0.5)
        raise AssertionError(f"{what} within {seconds} s\n{(self.home / 'log.txt').read_text()[-5000:]}")

    def ended(self) -> list[tuple[str, str]]:
        """State and message of the scheduled runs that have ended, in order."""
        runs = self.ask("/flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC"})
        over = [
            run
            for run in runs
            if run["auto_scheduled"] and (run["state"] or {})["type"] in ("COMPLETED", "FAILED", "CRASHED")
        ]
        return [(run["state"]["name"], run["state"]["message"] or "") for run in over]

    def running(self) -> bool:
        """Whether a run is under way: stopping it then could leave half a file of DVC's."""
        return any((run["state"] or {})["type"] in ("PENDING", "RUNNING") for run in self.ask("/flow_runs/filter", {}))

    def page(self) -> str:
        """Where `make serve` says that its server has one; empty before it does."""
        found = re.search(r"^Prefect's page: (\S+)", (self.home / "log.txt").read_text(), re.MULTILINE)
        return found[1] if found else ""

    def pause(self) -> None:
        for deployment in self.ask("/deployments/filter", {}):
            self.ask(f"/deployments/{deployment['id']}/pause_deployment", {})


@pytest.fixture
def scheduled(tmp_path: Path, home: Path, tables: Path) -> Iterator[Scheduled]:
    (tmp_path / "project").mkdir()
    made = Scheduled(tmp_path / "project", home)
    shutil.copytree(tables, made.root / ".prefect")  # the home of `make serve`
    try:
        yield made
    finally:
        for process in reversed(made.processes):
            made.stop(process)


@pytest.mark.slow
def test_a_schedule_fires_through_a_worker_and_through_serve(scheduled: Scheduled) -> None:
    scheduled.wait(lambda: scheduled.ask("/health"), 900, "the server should answer")
    scheduled.type("prefect work-pool create machines --type process")
    scheduled.type("prefect work-pool create kubernetes --type kubernetes --base-job-template flows/kubernetes.json")
    scheduled.type("make deploy")
    (deployment,) = scheduled.ask("/deployments/filter", {})
    assert [s["schedule"] for s in deployment["schedules"]] == [{**EVERY_MINUTE, "day_or": True}]
    worker = scheduled.start("YOLOSLIM_CHECKOUT=$PWD prefect worker start --pool machines")
    scheduled.processes.append(worker)
    first = scheduled.wait(scheduled.ended, 1800, "the worker should sweep")[0]
    assert first[0] == "Completed", first
    winner = scheduled.json("metrics/sweep.json")
    assert winner["winner"] == "65"  # the last that loses no more than 0.03
    assert winner["why"] in first[1]
    said = [log["message"] for log in scheduled.ask("/logs/filter", {"sort": "TIMESTAMP_ASC", "limit": 200})]
    assert "stages that all points share" in said  # as the sweep's own log has it
    assert not [line for line in said if not line.strip() or line.startswith("line:")]
    scheduled.type("python -m flows.schedule deploy kubernetes")
    scheduled.pause()
    (remote,) = (d for d in scheduled.ask("/deployments/filter", {}) if d["name"] == "kubernetes")
    assert (remote["work_pool_name"], remote["parameters"]) == ("kubernetes", {"remote": True})
    scheduled.wait(lambda: not scheduled.running(), 900, "a run that has begun should end")
    scheduled.stop(worker)

    ran = scheduled.ran
    for process in scheduled.processes:
        scheduled.stop(process)
    del scheduled.environment["PREFECT_API_URL"]  # with a server of its own, which must start what is due
    serve = scheduled.start("make serve")
    scheduled.processes.append(serve)
    scheduled.api = scheduled.wait(scheduled.page, 900, "serve should have a page") + "/api"
    twice = subprocess.run(["make", "serve"], cwd=scheduled.root, env=scheduled.environment, stderr=-1, text=True)
    assert f"a schedule is running in {scheduled.root} already" in twice.stderr
    assert twice.returncode == 2
    later = scheduled.wait(scheduled.ended, 1800, "serve should run")
    assert later[0][0] == "Unchanged"
    assert later[0][1].startswith("nothing changed: same data, code and params; ")
    assert scheduled.ran == ran
    scheduled.stop(serve)
    with contextlib.closing(sqlite3.connect(scheduled.root / ".prefect/prefect.db")) as database:
        kept = database.execute("SELECT active FROM deployment_schedule").fetchall()
    assert kept == [(1,)]  # the schedule outlives a restart


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"cron": "at two"}, "'at two' is no cron line"),
        ({"timezone": "Berlin"}, "'Berlin' is no time zone; write one such as Europe/Berlin"),
        ({"timezone": ""}, "'' is no time zone"),
    ],
)
def test_a_wrong_time_is_said_before_anything_starts(schedule: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_params({"schedule": schedule})


@pytest.mark.parametrize(
    ("url", "cron", "message"),
    [
        ("", "0 2 * * *", "PREFECT_API_URL is not set, so there is no server"),
        ("http://127.0.0.1:9/api", "0 2 * * *", r"Prefect is away \(http://127.0.0.1:9/api: .*refused\)"),
        ("http://127.0.0.1:9/api", "99 25 * * *", "schedule.cron '99 25 .*' is no cron line"),
    ],
)
def test_a_deployment_that_cannot_be_sent_is_said_in_a_sentence(url: str, cron: str, message: str) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    params = parse_params({"schedule": {"cron": cron}})
    with (
        temporary_settings({PREFECT_API_URL: url} if url else {}, restore_defaults=() if url else {PREFECT_API_URL}),
        pytest.raises((ConfigError, SweepError), match=message),
    ):
        deploy(params, ["nightly"])
