"""Stores that interruptions, other versions and bad disks leave behind, against MLflow itself."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from yoloslim.errors import TrackingError
from yoloslim.tracking import store
from yoloslim.tracking.store import _revisions, damage, ensure_store


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as it should be, made once."""
    database = tmp_path_factory.mktemp("whole") / "mlflow.db"
    ensure_store(database)
    return database


@pytest.fixture
def database(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it that nobody has written to lately."""
    monkeypatch.setattr(store, "SETTLED_S", 0.0)
    copy = tmp_path / "mlflow.db"
    shutil.copy(whole, copy)
    yield copy
    assert not list(tmp_path.glob(".mlflow.db*"))


def change(database: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def revision(database: Path) -> str:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


RUN = """
    INSERT INTO runs (run_uuid, name, status, experiment_id, lifecycle_stage)
    VALUES ("1", "one", "FINISHED", 0, "active")
"""


@pytest.mark.slow
def test_whole_store_is_left_alone_and_a_half_made_one_is_made_anew(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = database.stat()
    ensure_store(database)
    assert (database.stat().st_ino, database.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    # between two steps: tables are there, the revision is older: "table ... already exists" or "duplicate column name"
    change(database, "UPDATE alembic_version SET version_num = '0a8213491aaa'")
    half = database.read_bytes()
    ensure_store(database)
    assert revision(database) == _revisions()[0]
    assert (database.parent / "mlflow.db.before-1").read_bytes() == half
    assert "left half made by an interruption, and is made anew" in caplog.text


@pytest.mark.slow
def test_half_migrated_store_with_runs_is_kept_beside(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    change(database, RUN, "UPDATE alembic_version SET version_num = '0a8213491aaa'")
    half = database.read_bytes()
    ensure_store(database)
    assert revision(database) == _revisions()[0]
    assert (database.parent / "mlflow.db.before-1").read_bytes() == half
    assert "its 1 runs are in" in caplog.text


def test_store_of_a_newer_mlflow_or_of_another_program_is_refused_and_left_alone(database: Path) -> None:
    change(database, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    before = database.read_bytes()
    with pytest.raises(TrackingError, match="is of a newer MLflow than the one installed"):
        ensure_store(database)
    assert database.read_bytes() == before
    database.unlink()
    change(database, "CREATE TABLE customers (name TEXT)")
    with pytest.raises(TrackingError, match="is another program's database"):
        ensure_store(database)
    database.write_bytes(b"no database at all" * 100)
    with pytest.raises(TrackingError, match=r"is damaged .*file is not a database"):
        ensure_store(database)
    assert not list(database.parent.glob("*.before-*"))


def test_damage_is_told_from_a_store_that_is_locked(database: Path) -> None:
    assert damage(database) == ""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert damage(database.with_name("absent.db")) == ""
    content = bytearray(database.read_bytes())
    content[4096 * 20 : 4096 * 60] = os.urandom(4096 * 40)
    database.write_bytes(content)
    assert damage(database)


def test_names_that_are_no_text_are_damage(database: Path) -> None:
    content = database.read_bytes()
    assert b"run_uuid VARCHAR" in content
    database.write_bytes(content.replace(b"run_uuid VARCHAR", b"\xff\xff\xff_uuid VARCHAR"))
    assert damage(database)
    with pytest.raises(TrackingError, match="is damaged"):
        ensure_store(database)


def test_texts_that_are_none_are_said(database: Path) -> None:
    change(database, "UPDATE alembic_version SET version_num = CAST(x'ff' AS TEXT)")
    with pytest.raises(TrackingError, match=r"cannot be opened: .*UTF-8"):
        ensure_store(database)


@pytest.mark.slow
def test_nothing_is_there_until_all_is_there_and_a_killed_maker_leaves_no_trace(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    call = f"from pathlib import Path; from yoloslim.tracking import store; store.ensure_store(Path({str(database)!r}))"
    maker = subprocess.Popen([sys.executable, "-c", call], start_new_session=True)
    deadline = time.monotonic() + 900
    while not list(tmp_path.glob(".mlflow.db*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    os.killpg(maker.pid, signal.SIGKILL)
    maker.wait()
    assert not database.exists()
    assert list(tmp_path.glob(".mlflow.db*"))
    (tmp_path / "mlflow.db-journal").write_bytes(b"of a store that a person deleted")
    ensure_store(database)
    assert revision(database) == _revisions()[0]
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_revisions_are_those_that_alembic_finds() -> None:
    import mlflow
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    assert _revisions() == (scripts.get_current_head(), {script.revision for script in scripts.walk_revisions()})
