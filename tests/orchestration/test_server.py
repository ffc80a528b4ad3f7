"""The Prefect server of a sweep: dead ones are not waited for, and none outlives its sweep."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from yoloslim.orchestration import server
from yoloslim.orchestration.server import _running

HOLDER = """
import os, time
from yoloslim.orchestration.server import prefect_server
with prefect_server():
    print(os.environ["PREFECT_API_URL"], flush=True)
    time.sleep(600)
"""


def stand_in(path: Path, text: str) -> str:
    """A program in the place of Python."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_server_that_dies_as_it_starts_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.sys, "executable", stand_in(tmp_path / "python", "echo broken >&2; exit 4"))
    began, log = time.monotonic(), tmp_path / "home/server.log"
    with pytest.raises(RuntimeError, match=r"its server ended with status 4 before it answered, see .*server\.log"):
        _running(log).__enter__()
    assert time.monotonic() - began < 60
    assert log.read_text() == "broken\n"


def test_a_server_that_says_nothing_is_given_up_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.sys, "executable", stand_in(tmp_path / "python", "cat; touch ended"))
    monkeypatch.setattr(server, "PATIENCE_S", 0.2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="did not answer within 0 s"):
        _running(tmp_path / "server.log").__enter__()
    assert (tmp_path / "ended").exists()  # at the end of its standard input


@pytest.mark.slow
def test_a_server_ends_when_its_sweep_is_killed(tmp_path: Path) -> None:
    environment = os.environ | {"PREFECT_HOME": str(tmp_path)}
    environment.pop("PREFECT_API_URL", None)
    with subprocess.Popen([sys.executable, "-c", HOLDER], env=environment, stdout=-1, text=True) as holder:
        assert holder.stdout
        port = int(holder.stdout.readline().removesuffix("/api\n").rpartition(":")[2])
        assert answers(port)
        holder.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 900
        while answers(port) and time.monotonic() < deadline:
            time.sleep(0.1)
    assert not answers(port)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_set_server_that_drips_or_is_away_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        threading.Thread(target=drip, args=(silent,), daemon=True).start()
        with pytest.raises(server.AwayError, match="no answer within 0 s"):
            server.expect_answer(url)
    with pytest.raises(server.AwayError, match="no answer within 0 s"):
        server.expect_answer(url)


def drip(server: socket.socket) -> None:
    """Answer the first who asks, a byte at a time."""
    client, _ = server.accept()
    with client, contextlib.suppress(OSError):
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(100):
            client.sendall(b" ")
            time.sleep(0.1)
