"""Servers that drip, refuse or answer nonsense, over real sockets."""

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.results.made import PARAMS
from yoloslim.errors import TrackingError
from yoloslim.results.results import read_results
from yoloslim.tracking import calls
from yoloslim.tracking.calls import Client, explain
from yoloslim.tracking.mlflow import sync

Answer = tuple[int, bytes]


@contextmanager
def server(answer: Callable[[str], Answer]) -> Iterator[str]:
    """Answers every request to a path with a status and a body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{found.server_address[1]}"
    finally:
        found.shutdown()
        found.server_close()


@contextmanager
def dripping() -> Iterator[str]:
    """A server that sends a byte of its answer every tenth of a second, for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            try:
                connection, _ = listener.accept()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n")
                while True:
                    connection.sendall(b" ")
                    time.sleep(0.1)
            except OSError:
                return

        for _ in range(3):
            threading.Thread(target=drip, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_server_that_drips_is_given_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "time_limit", lambda: 1.5)
    with dripping() as uri:
        start = time.perf_counter()
        with pytest.raises(TrackingError, match=r"did not end its answer within 2 s; nothing is lost"):
            sync(read_results(root, PARAMS), uri, "trial")
        assert time.perf_counter() - start < 240  # it drips for longer; most of it is the import of MLflow


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, b"You are not authenticated"), r"wants to know who asks \(401\); set MLFLOW_TRACKING_USERNAME"),
        ((403, b"Permission denied"), r"forbids this to the user who asks \(403\)"),
        ((404, b"<html>nginx</html>"), r"does not answer as MLflow does \(404\)"),
        ((200, b"{}"), r"answers, but not as MLflow does"),
        ((200, b""), r"answers, but not as MLflow does"),
        ((200, b"<html>please log in</html>"), r"MLflow at http://127.0.0.1:\d+ cannot be used"),
        ((200, b"[1, 2]"), r"MLflow at http://127.0.0.1:\d+ cannot be used"),
        ((200, b'{"experiment": 3}'), r"MLflow at http://127.0.0.1:\d+ cannot be used"),
    ],
)
def test_answers_that_are_not_mlflows_end_in_a_sentence(root: Path, answer: Answer, said: str) -> None:
    with server(lambda _: answer) as uri, pytest.raises(TrackingError, match=said) as error:
        sync(read_results(root, PARAMS), uri, "trial")
    assert "\n" not in str(error.value)


def test_runs_that_come_back_empty_are_no_runs(root: Path) -> None:
    """A server that knows the experiment and answers everything else with an empty object."""
    known = {"experiment": {"experiment_id": "7", "name": "trial", "lifecycle_stage": "active"}}

    def answer(path: str) -> Answer:
        return 200, json.dumps(known if "get-by-name" in path else {}).encode()

    with server(answer) as uri, pytest.raises(TrackingError, match=r"cannot be used .*'run_id'"):
        sync(read_results(root, PARAMS), uri, "trial")


def test_deleted_experiment_says_how_it_comes_back(root: Path) -> None:
    known = {"experiment": {"experiment_id": "7", "name": "trial", "lifecycle_stage": "deleted"}}
    said = r"MLFLOW_TRACKING_URI=http://127.0.0.1:\d+ mlflow experiments restore -x 7"
    with server(lambda _: (200, json.dumps(known).encode())) as uri, pytest.raises(TrackingError, match=said):
        sync(read_results(root, PARAMS), uri, "trial")


@pytest.mark.parametrize("uri", ["file:///tmp/absent/mlruns", "./absent/mlruns"])
def test_folders_are_no_stores_any_more(root: Path, uri: str) -> None:
    with pytest.raises(TrackingError, match=r"has given up stores that are folders, .* sqlite:///mlflow.db"):
        sync(read_results(root, PARAMS), uri, "trial")


def test_failed_call_says_one_line_without_the_password() -> None:
    class Broken:
        def search_runs(self) -> None:
            raise KeyError("run_id")

    client = Client(Broken(), "postgresql://me:secret@host/db")
    with pytest.raises(TrackingError, match=r"MLflow at postgresql://host/db cannot be used \('run_id'\)"):
        client.search_runs()
    assert "secret" not in explain("http://me:secret@host", OSError("http://me:secret@host is away"))


def test_a_database_that_is_read_only_is_said_so(tmp_path: Path) -> None:
    """SQLAlchemy's message begins with what no user can do anything about."""
    database = tmp_path / "mlflow.db"
    error = RuntimeError(
        "(raised as a result of Query-invoked autoflush; ...)\n(sqlite3.OperationalError) attempt to write a readonly "
        "database"
    )
    said = explain(f"sqlite:///{database}", error)
    assert said.startswith(f"MLflow's database {database} is read-only for this user")
    assert "name another in tracking.uri; nothing is lost" in said
