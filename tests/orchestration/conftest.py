"""Leases for each test alone: sweeps of other tests, or of a person here, are neither waited for nor held up."""

import tempfile

import pytest


@pytest.fixture(autouse=True)
def leases(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for temporary files, where leases are, of this process and those that it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("t")))  # a short path: those of sockets end at 107 bytes
    monkeypatch.setattr(tempfile, "tempdir", None)
