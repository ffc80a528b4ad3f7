"""DVC's own files, made usable again after a kill while DVC wrote them.

DVC 3.67 empties a file and then writes it. A kill or a full disk in between leaves an empty or half a file, after which
every command ends in an error: "JSON structure is corrupted" for .dvc/tmp/rwlock, its table of who reads and writes
what; "validation failed" or "YAML file structure is corrupted" for dvc.lock, its record of what is done. Neither is
needed: the table is of the processes that run, and what the record says stands in the run cache too, from which the
next `dvc repro` restores every stage that had ended. `make repro`, sweeps and flows call this first.
"""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

logger = logging.getLogger(__name__)

HALF = Path(".dvc") / "tmp" / "dvc.lock.half"
"""Where half a record is kept, below the checkout."""


def mend(checkout: Path) -> bool:
    """Put away what DVC cannot read of its own files in a checkout; returns whether there was any.

    A file that a living DVC is writing just now is left alone: the decision is made under DVC's own lock of it.
    """
    table, record, locks = checkout / ".dvc/tmp/rwlock", checkout / "dvc.lock", checkout / ".dvc" / "tmp"
    mended = False
    if _is_broken(table, _is_table, locks / "rwlock.lock", lambda: table.unlink()):
        logger.warning("removed .dvc/tmp/rwlock, which a kill had left half-written")
        mended = True
    if _is_broken(record, _is_record, locks / "lock", lambda: record.replace(checkout / HALF)):
        logger.warning(
            "dvc.lock was left half-written by a kill; it is in %s now, and `dvc repro` takes what was done from its "
            "run cache",
            HALF,
        )
        mended = True
    return mended


def _is_broken(path: Path, is_whole: Callable[[str], bool], lock: Path, put_away: Callable[[], object]) -> bool:
    """Whether a file was broken, and nobody was writing it: then it has been put away."""
    if _is_whole(path, is_whole):
        return False
    from dvc.lock import LockError, make_lock  # half a second, and only needed here

    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with make_lock(str(lock), tmp_dir=str(lock.parent)):
            if _is_whole(path, is_whole):
                return False
            put_away()
    except LockError:
        return False
    return True


def _is_whole(path: Path, is_whole: Callable[[str], bool]) -> bool:
    try:
        return is_whole(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except (ValueError, RecursionError, yaml.YAMLError):
        return False


def _is_table(text: str) -> bool:
    return isinstance(json.loads(text), dict)


def _is_record(text: str) -> bool:
    """Whether DVC itself would take this for a record."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.load(text, Loader=yaml.CSafeLoader))
    except Invalid:
        return False
    return True


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    mend(Path())
