"""The SQLite store: whole or absent, and made anew where an interruption left half of one.

MLflow makes its tables in some seventy steps, and a store that was interrupted between two of them never opens again.
So a process of its own makes the store under another name, and only a whole one is renamed into place.
"""

import contextlib
import gc
import logging
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from yoloslim.commands import to_type
from yoloslim.errors import TrackingError

logger = logging.getLogger(__name__)

MAKING_S = 600.0
"""Within this time the process that makes or migrates a store has to end."""
SETTLED_S = 5.0
"""A store that was written to this lately may be in the making by `mlflow ui`, which is waited for."""
REVISIONS = (r"^revision(?:: .+)? = [\"'](\w+)", r"^down_revision(?:: .+)? = [\"'](\w+)")
"""How a script of Alembic's tells its revision, and the one before."""


def ensure_store(database: Path) -> None:
    """Leave a store at `database` that this MLflow can use. Call it with the store's lock held.

    A missing one is made. One that was left half made is moved aside, which is said, and made anew; one of an older
    MLflow is migrated, and kept as it was beside it.

    Raises:
        TrackingError: the file is no store, or of a newer MLflow, or the disk refused.
    """
    if not database.is_file() or database.stat().st_size == 0:
        with _new_store(database) as made:
            _put_in_place(made, database)
        return
    newest, known = _revisions()
    revision = _settled_revision(database, newest)
    if revision == newest:
        return
    if revision and revision not in known:
        raise TrackingError(
            f"{database} is of a newer MLflow than the one installed (its revision is {revision}, the newest known "
            f"here {newest}); `{to_type('setup')}` installs what is pinned, or name another database in tracking.uri"
        )
    _replace(database, runs=_count_runs(database))


def damage(database: Path) -> str:
    """What SQLite finds wrong with the file, in its words; empty if nothing."""
    try:
        with _open(database) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            return "" if found == "ok" else str(found).strip().replace("\n", " ")
    except sqlite3.OperationalError as error:  # locked, unreadable: that is no damage
        return "" if "locked" in str(error) or "unable to open" in str(error) else str(error)
    except (sqlite3.Error, UnicodeDecodeError) as error:  # a name that is no text, where SQLite quotes it
        return str(error)


def damaged_message(database: Path, reason: str) -> str:
    """What to do about a file that SQLite cannot read."""
    return (
        f"{database} is damaged ({reason}); `sqlite3 {database} .recover` may save what others wrote to it. Move it "
        f"away, and `{to_type('track')}` logs the results of this checkout anew"
    )


@contextlib.contextmanager
def _open(database: Path) -> Iterator[sqlite3.Connection]:
    """Open a store that exists; a transaction that was cut is rolled back by the first query."""
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=20)) as connection:
        yield connection


def _revisions() -> tuple[str, set[str]]:
    """MLflow's newest revision of its tables, and all that it knows: read, since Alembic would run all the scripts."""
    import mlflow

    scripts = (Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions").glob("*.py")
    texts = [script.read_text(encoding="utf-8") for script in scripts]
    known, before = ({name for text in texts for name in re.findall(pattern, text, re.M)} for pattern in REVISIONS)
    (newest,) = known - before
    return newest, known


def _settled_revision(database: Path, newest: str) -> str:
    """The revision of the tables, once nobody seems to be at it any more; empty before the first."""
    revision, left = _revision(database), 20 * SETTLED_S
    while revision != newest and left > 0 and time.time() - database.stat().st_mtime <= SETTLED_S:
        time.sleep(0.5)
        revision, left = _revision(database), left - 0.5
    return revision


def _revision(database: Path) -> str:
    try:
        with _open(database) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if tables and not tables & {"experiments", "alembic_version"}:
                raise TrackingError(
                    f"{database} is another program's database, without MLflow's tables; name another in tracking.uri"
                )
            if "alembic_version" not in tables:
                return ""
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return str(row[0]) if row else ""
    except (sqlite3.Error, UnicodeDecodeError) as error:  # texts are decoded here
        if found := damage(database):
            raise TrackingError(damaged_message(database, found)) from error
        raise TrackingError(f"{database} cannot be opened: {error}") from error


def _count_runs(database: Path) -> int:
    try:
        with _open(database) as connection:
            return int(connection.execute("SELECT count(*) FROM runs").fetchone()[0])
    except (sqlite3.Error, UnicodeDecodeError):  # not even that table was made
        return 0


def _replace(database: Path, runs: int) -> None:
    """Migrate a store that holds runs, or, where that cannot be done or it holds none, make it anew."""
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(_new_store(database, of=database if runs else None))
            said = "was made by an older MLflow, and has been migrated; as it was before it is kept in"
        except TrackingError as error:
            if not runs:
                raise
            logger.debug("%s cannot be migrated: %s", database, error)
            made = stack.enter_context(_new_store(database))
            said = f"was left half made or half migrated by an interruption, and is made anew; its {runs} runs are in"
        if not runs:
            said = "was left half made by an interruption, and is made anew; the half is in"
        aside = _aside(database)
        shutil.copy2(database, aside)
        _put_in_place(made, database)
    logger.warning("MLflow's database %s %s %s", database, said, aside)


def _aside(database: Path) -> Path:
    """A free name beside the store."""
    number = 1
    while (path := database.with_name(f"{database.name}.before-{number}")).exists():
        number += 1
    return path


@contextlib.contextmanager
def _new_store(database: Path, of: Path | None = None) -> Iterator[Path]:
    """A whole store under another name, empty or migrated from `of`; removed afterwards, if it is there still."""
    for left in database.parent.glob(f".{database.name}.*.tmp*"):  # by a process that was killed: we hold the lock
        left.unlink(missing_ok=True)
    path = database.with_name(f".{database.name}.{os.getpid()}.tmp")
    command = [sys.executable, "-m", "yoloslim.tracking.store", str(path), str(os.getpid())]
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        if of:
            shutil.copy2(of, path)
        done = subprocess.run(
            command,
            cwd=database.parent,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=MAKING_S,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise TrackingError(f"MLflow's database {database} cannot be made: {reason[:200]}")
        yield path
    except subprocess.TimeoutExpired as error:
        raise TrackingError(f"MLflow's database {database} could not be made within {MAKING_S:.0f} s") from error
    except OSError as error:
        raise TrackingError(f"MLflow's database {database} cannot be made: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            for left in database.parent.glob(f"{path.name}*"):
                left.unlink(missing_ok=True)


def _put_in_place(made: Path, database: Path) -> None:
    """Rename the whole store; a journal of a former one would be played back into it."""
    for suffix in ("-journal", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    made.replace(database)


def _make(path: Path, parent: int) -> None:
    """Make or migrate the store at `path`, which nobody else knows of, and open it once."""
    gc.disable()  # a process of a few seconds, a fifth of which would go to the search for garbage
    from mlflow import MlflowClient

    uri = f"sqlite:///{path}"
    if path.is_file():
        from mlflow.store.db.utils import _upgrade_db, create_sqlalchemy_engine  # what `mlflow db upgrade` calls

        _upgrade_db(create_sqlalchemy_engine(uri))
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    client.search_registered_models()
    if os.getppid() != parent:  # nobody waits any more
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits decides
    _make(Path(sys.argv[1]), int(sys.argv[2]))
