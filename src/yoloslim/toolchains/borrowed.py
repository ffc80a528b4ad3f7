"""Packages that a toolchain takes from this installation instead of having its own: links in its environment."""

import logging
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from yoloslim.toolchains.base import Toolchain

logger = logging.getLogger(__name__)


def borrow(package: str, folder: Path) -> bool:
    """Link a package of this installation into the environment in `folder`, in place of a former link.

    Returns:
        Whether that could be done: not where the package is missing here, where the environment is one of another
        minor version of Python than this, or where nothing may be written.
    """
    spec = find_spec(package)
    link = _site(folder) / package
    if spec is None or spec.origin is None or not link.parent.is_dir():
        return False
    temporary = link.with_name(f".{package}-{os.getpid()}")
    try:
        temporary.symlink_to(Path(spec.origin).resolve().parent, target_is_directory=True)
        temporary.replace(link)
    except OSError:
        return False
    return True


def lost_packages(toolchain: Toolchain) -> list[str]:
    """Packages that a toolchain borrowed from an installation that is gone and that this one cannot lend it.

    Those that it can are linked again, and that is said.
    """
    lost = []
    for package in toolchain.borrows:
        links = [site / package for site in toolchain.folder.glob("lib/python3.*/site-packages")]
        gone = next((link for link in links if link.is_symlink() and not link.exists()), None)
        if gone is None:
            continue
        before = gone.readlink().parent
        if borrow(package, toolchain.folder):
            logger.warning("toolchain %s: %s is taken from here now, since %s is gone", toolchain.name, package, before)
        else:
            lost.append(package)
    return lost


def _site(folder: Path) -> Path:
    return folder / f"lib/python3.{sys.version_info.minor}/site-packages"
