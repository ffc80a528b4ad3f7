"""A SQLite store that was copied or moved with its project.

MLflow keeps the absolute place of every file, so that a copy's new runs would go into the original's folder, and those
of a moved one nowhere. Places below the folder that the store came from become places below the one that it is in.
"""

import contextlib
import logging
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

from yoloslim.errors import TrackingError

logger = logging.getLogger(__name__)

FILES = "mlartifacts"
"""Folder beside the store that the files of its runs lie in."""
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow keeps places of files."""


def came_from(database: Path) -> list[Path]:
    """Folders other than its own that the store puts files of its experiments into, as if it still lay there."""
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        locations = [str(place) for (place,) in connection.execute("SELECT artifact_location FROM experiments")]
    found = {Path(unquote(urlsplit(place).path)) for place in locations if place.startswith("file:///")}
    return sorted(path.parent for path in found if path.name == FILES and path.parent != database.parent)


def bring_along(database: Path) -> None:
    """Let the store name its own folder, and say so. Call it with the store's lock held.

    Raises:
        TrackingError: the disk refused.
    """
    here = database.parent
    try:
        left = came_from(database)
        for folder in left:
            with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection, connection:
                for table, column in PLACES:
                    for old, new in ((folder.as_uri(), here.as_uri()), (str(folder), str(here))):
                        connection.execute(
                            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                            (f"{new}/", len(old) + 2, len(old) + 1, f"{old}/"),
                        )
    except sqlite3.Error as error:
        raise TrackingError(f"{database} names files of another folder, and cannot be changed: {error}") from error
    for folder in left:
        files = any(path.is_dir() for path in (here / FILES).glob("*"))
        advice = "" if files else f"; those are not here: `cp -r {folder / FILES} {here}` brings them"
        logger.warning(
            "MLflow's database %s came from %s; its runs' files are now those of its folder%s", database, folder, advice
        )
