"""Class names that belong to a cfg: Darknet keeps them in a file of any name, which a `.data` file tells."""

import logging
from pathlib import Path

from yoloslim.errors import WeightsError
from yoloslim.models.foreign.adapt import read_names_file
from yoloslim.runner.text import NotText, read_lines

logger = logging.getLogger(__name__)

MAX_FILES = 50
"""Files of a kind that are looked at."""


def names_near(cfg: Path, count: int) -> tuple[str, ...] | None:
    """The names that `.data` files beside a cfg name, else those of `.names` files beside it; None if none fit.

    Args:
        cfg: `yolov4.cfg`, whose own `yolov4.names` is not there.
        count: classes of the network; files of other lengths are passed over.
    """
    told = [path for data in _beside(cfg, "*.data") for path in _told(data)]
    found: dict[tuple[str, ...], Path] = {}
    for path in told or _beside(cfg, "*.names"):
        try:
            names = tuple(read_names_file(path))
        except WeightsError:
            continue
        if len(names) == count:
            found.setdefault(names, path)
    if len(found) > 1:
        logger.warning("%s: %s differ, so none of them names its classes", cfg, " and ".join(map(str, found.values())))
    if len(found) != 1:
        return None
    ((names, path),) = found.items()
    logger.info("%s: names of its classes are taken from %s", cfg, path)
    return names


def _beside(cfg: Path, pattern: str) -> list[Path]:
    folders = (cfg.parent, cfg.parent / "data", cfg.parent.parent / "data")
    return [path for folder in folders for path in sorted(folder.glob(pattern))[:MAX_FILES] if path.is_file()]


def _told(data: Path) -> list[Path]:
    """The file behind `names =`: relative to where Darknet is started, mostly the folder above."""
    try:
        pairs = [line.partition("=") for line in read_lines(data)]
    except (NotText, OSError):
        return []
    values = [value.strip() for key, _, value in pairs if key.strip() == "names" and value.strip()]
    tries = [
        folder / each
        for value in values
        for folder in (data.parent, data.parent.parent)
        for each in (value, Path(value).name)
    ]
    return [path for path in tries if path.is_file()][:1]
