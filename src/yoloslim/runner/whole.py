"""Files that are either whole or absent, on boards too."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import RunnerError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a hidden name beside `path`, of the same suffix; on success it gets that name, on failure it is removed.

    Raises:
        RunnerError: the disk refused; what stood at `path` stands there still.
    """
    temporary = path.with_name("." + path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise RunnerError("disk", f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # it has its name, or never was
            temporary.unlink()


def note_on_others(folder: Path, there: Iterable[Path], written: Container[Path]) -> list[str]:
    """A note on those files that are there in a folder of results and that a run did not write.

    They stay, since they may be somebody's own.
    """
    others = sorted(path for path in there if path not in written)
    if not others:
        return []
    return [
        f"{len(others)} files in {folder} are no results of this run, such as {others[0].relative_to(folder)}: they "
        "stay. If they are an earlier run's, delete them, or write to another folder"
    ]
