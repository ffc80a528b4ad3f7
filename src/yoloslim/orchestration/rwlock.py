"""DVC's table of who reads and writes what, made usable again after a kill while DVC wrote it.

DVC 3.67 truncates .dvc/tmp/rwlock and then writes it; a kill or a full disk in between leaves an empty file, and every
later command ends with "JSON structure is corrupted". `make repro`, sweeps and flows call this first.
"""

import json
import logging
import sys
from pathlib import Path

logger = logging.getLogger(__name__)


def mend(checkout: Path) -> bool:
    """Remove the table of a checkout if it cannot be read; returns whether that was so.

    A table that a living DVC is writing just now is left alone: the decision is made under DVC's own lock of it.
    """
    folder = checkout / ".dvc" / "tmp"
    if _readable(folder / "rwlock"):
        return False
    from dvc.lock import make_lock  # a second, and only needed here

    with make_lock(str(folder / "rwlock.lock"), tmp_dir=str(folder)):
        if _readable(folder / "rwlock"):
            return False
        (folder / "rwlock").unlink()
    logger.warning("removed .dvc/tmp/rwlock, which a kill had left half-written")
    return True


def _readable(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except FileNotFoundError:
        return True
    except (ValueError, RecursionError):
        return False


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    mend(Path())
