"""Eight writers at once against a real tracking server on a real PostgreSQL; nothing may be lost."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.results.made import PARAMS, epochs, measured, put
from tests.results.sweeps import leave, point, sweep
from yoloslim.config.results import SweepResult
from yoloslim.tracking.naming import run_metrics
from yoloslim.tracking.sweep_runs import point_row

from .postgres import Server, cluster

pytestmark = pytest.mark.slow

WRITERS, POINTS, EPOCHS = 8, (20, 40, 50, 60, 80), 30
WRITER = """
import sys
from pathlib import Path
from yoloslim.errors import TrackingError
from yoloslim.results.results import read_results
from yoloslim.tracking.mlflow import sync
root = Path(sys.argv[1])
for line in sys.stdin:
    try:
        print("wrote", len(sync(read_results(root, {params!r}), sys.argv[2], "trial").created), flush=True)
    except TrackingError as error:
        print("error", error, flush=True)
""".replace("{params!r}", repr(PARAMS))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with cluster() as database:
        server = Server(database, tmp_path)
        server.start()
        try:
            yield server
        finally:
            server.kill()


PATIENT = os.environ | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "120"}
"""Eight writers and two servers on two cores: slow is not away."""


class Writer:
    """A machine with a checkout of its own."""

    def __init__(self, number: int, folder: Path, uri: str) -> None:
        self.number, self.root = number, folder / f"machine-{number}"
        self.sweeps: list[SweepResult] = []
        put(self.root / "metrics/baseline.json", measured(0.5 + number / 100, 2.0, "pytorch-cpu", 100))
        epochs(self.root / "plots/baseline/epochs.csv", 0.8, EPOCHS)
        command = [sys.executable, "-c", WRITER, str(self.root), uri]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=PATIENT)

    def sweep(self, name: str) -> None:
        """Finish a sweep whose numbers no other writer has."""
        points = [point(p, map50=0.5 + self.number / 100 + p / 1000, fps=100 + self.number) for p in POINTS]
        self.sweeps.append(sweep(*points, name=f"{name} {self.number}"))
        leave(self.root, self.sweeps[-1])

    def ask(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("sync\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


def test_eight_writers_lose_nothing_nor_does_a_server_that_dies(tmp_path: Path, server: Server) -> None:
    writers = [Writer(number, tmp_path, server.uri) for number in range(WRITERS)]
    try:
        for writer in writers:
            writer.sweep("first")
        assert told(writers) == [f"wrote {1 + len(POINTS)}"] * WRITERS
        count(server, writers)

        for writer in writers:
            writer.sweep("second")
            writer.ask()
        wait_for_some(server, WRITERS * (2 + len(POINTS)) + 12)
        server.kill()
        answers = [writer.answer() for writer in writers]
        lost = [answer for answer in answers if not answer.startswith("wrote")]  # the others were done before
        assert lost
        assert all(re.match(r"error MLflow at http.* nothing is lost, run `make track` later", a) for a in lost), lost
        server.start()
        told(writers)
        count(server, writers)
        assert told(writers) == ["wrote 0"] * WRITERS
    finally:
        for writer in writers:
            writer.process.kill()


def told(writers: list[Writer]) -> list[str]:
    for writer in writers:
        writer.ask()
    return [writer.answer() for writer in writers]


def all_runs(server: Server) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=server.uri)
    known = client.get_experiment_by_name("trial")
    return list(client.search_runs([known.experiment_id], max_results=5000)) if known else []


def wait_for_some(server: Server, runs: int) -> None:
    deadline = time.monotonic() + 600
    while len(all_runs(server)) < runs and time.monotonic() < deadline:
        pass


def count(server: Server, writers: list[Writer]) -> None:
    """Every run, metric, param and point of a curve is there, once."""
    from mlflow import MlflowClient

    runs, client = all_runs(server), MlflowClient(tracking_uri=server.uri)
    assert len(runs) == sum(1 + len(writer.sweeps) * (1 + len(POINTS)) for writer in writers)
    assert {run.info.status for run in runs} == {"FINISHED"}
    children = {(r.data.tags["mlflow.parentRunId"], r.data.tags["yoloslim.point"]): r for r in runs if is_child(r)}
    swept = [run for run in runs if run.data.tags.get("yoloslim.slot") == "sweep"]
    parents = {run.info.run_name.removeprefix("sweep: ").removesuffix(" (old)"): run for run in swept}
    names = {frozenset(run.data.params) for run in children.values()}
    assert len(names) == 1
    assert len(next(iter(names))) > 10
    for writer in writers:
        for result in writer.sweeps:
            parent = parents[result.name]
            assert parent.data.metrics["speed_fps"] == 100 + writer.number
            for one in result.points:
                assert children[parent.info.run_id, one.name].data.metrics == run_metrics(point_row(one))
    baselines = [run for run in runs if run.info.run_name.removesuffix(" (old)") == "baseline"]
    assert sorted(run.data.metrics["map50"] for run in baselines) == [0.5 + n / 100 for n in range(WRITERS)]
    for run in baselines:
        curve = client.get_metric_history(run.info.run_id, "val/map50")
        assert [point.step for point in curve] == list(range(1, EPOCHS + 1))


def is_child(run: Any) -> bool:
    return "yoloslim.point" in run.data.tags
