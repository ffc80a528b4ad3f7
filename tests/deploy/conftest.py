"""A real OpenSSH server on localhost that plays a board, for every maker's tests."""

import shutil
from collections.abc import Iterator

import pytest

from tests.deploy.board.sshd import Server, serve


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def server(sshd: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """That server, on which no job has run, from a home with its key."""
    monkeypatch.setenv("HOME", str(sshd.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    for path in sshd.runs.iterdir():
        shutil.rmtree(path)
    return sshd
