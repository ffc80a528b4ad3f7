"""Leases and homes of Prefect for each test alone: sweeps of others, or of a person here, hold nothing up."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock


@pytest.fixture(autouse=True)
def leases(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for temporary files, where leases are, of this process and those that it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("t")))  # a short path: those of sockets end at 107 bytes
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of Prefect whose tables are made, once for all of pytest's processes: half of a server's first start.

    That servers make them themselves is seen by test_pipeline.py and test_server.py.
    """
    base = tmp_path_factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "prefect-tables"
    with FileLock(f"{made}.lock"):
        if not made.is_dir():
            half = made.with_suffix(".half")
            command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
            subprocess.run(command, env=os.environ | {"PREFECT_HOME": str(half)}, check=True, capture_output=True)
            half.rename(made)
    return made


@pytest.fixture
def home(tables: Path, tmp_path: Path) -> Path:
    """A home of Prefect for one test, whose tables are made."""
    return Path(shutil.copytree(tables, tmp_path / "prefect"))
