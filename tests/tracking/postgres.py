"""A PostgreSQL cluster of its own and an MLflow server on it, in a folder that is removed afterwards."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port
from yoloslim.stages.ui import UI_SETTINGS

PATIENT = "--timeout-worker-healthcheck 120"
"""Uvicorn kills a worker that says nothing for five seconds, with the answers that it is giving: a busy machine's."""


def programs() -> Path:
    """PostgreSQL's folder of programs, of the newest version; skips the test where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parents[1].name))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        pytest.skip("PostgreSQL is not installed; `make debian-packages` installs it (Debian, as root)")
    return Path(on_path).parent


@contextmanager
def cluster() -> Iterator[str]:
    """Run PostgreSQL; yields its URI. The server refuses to run as root, so root runs it as the user postgres."""
    folder, port, binaries = Path(tempfile.mkdtemp(prefix="yoloslim-pg-")), free_port(), programs()
    become: dict[str, str | int] = {}
    if os.getuid() == 0:
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        become = {"user": owner.pw_uid, "group": owner.pw_gid}

    def call(name: str, *arguments: str) -> None:
        command = [str(binaries / name), *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False, **become)  # type: ignore[call-overload]
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"

    data, options = str(folder / "data"), f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    call("initdb", "-D", data, "-U", "tracker", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8")
    call("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://tracker@127.0.0.1:{port}/postgres"
    finally:
        call("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


class Server:
    """An MLflow tracking server that can be killed and started again."""

    def __init__(self, database: str, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        self.uri = f"http://127.0.0.1:{self.port}"
        self.command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database]
        self.command += ["--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1"]
        self.command += ["--port", str(self.port), "--workers", "2", "--uvicorn-opts", PATIENT]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, start_new_session=True, env=os.environ | UI_SETTINGS
            )
        deadline = time.monotonic() + 900
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                assert self.process.poll() is None, self.last_words()
                time.sleep(0.3)
        raise AssertionError(f"MLflow's server did not start: {self.last_words()}")

    def last_words(self) -> str:
        """The end of its log."""
        return (self.folder / "server.log").read_text()[-4000:]

    def kill(self) -> None:
        """As a machine dies: the server and its workers at once."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
