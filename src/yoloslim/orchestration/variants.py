"""Variants of a checkout: git worktrees with other parameters, which share its DVC cache.

What a variant made lies in the cache; what names it is small and kept under `sweeps/<id>/`, so that it can be applied
to a checkout later, where `dvc repro` restores everything.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from yoloslim.config.edit import set_list, set_values
from yoloslim.errors import SweepError
from yoloslim.files import read_json, write_json, write_text
from yoloslim.orchestration.points import WORK, environment
from yoloslim.orchestration.process import CommandError, stream
from yoloslim.orchestration.worktrees import belongs
from yoloslim.sweeping.space import Variant

KEPT = Path("sweeps")


def open_variant(checkout: Path, variant: Variant) -> Path:
    """The folder of a variant, made or brought in line with the checkout's files as they are now.

    Raises:
        SweepError: the checkout is no git repository with a commit.
    """
    if not variant.overrides:
        return checkout
    folder = checkout / WORK / "variants" / variant.id
    head = _git(checkout, "rev-parse", "HEAD").strip()
    if not belongs(folder, checkout):
        shutil.rmtree(folder, ignore_errors=True)
        _git(checkout, "worktree", "prune")
        _git(checkout, "worktree", "add", "--quiet", "--force", "--detach", str(folder), head)
    _git(folder, "reset", "--quiet", "--hard", head)
    for name in _names(checkout, "--modified", "--others", "--exclude-standard"):
        source, target = checkout / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        else:
            target.unlink(missing_ok=True)
    set_values(folder / "params.yaml", dict(variant.overrides))
    set_list(folder / "params.yaml", "percents", [])
    set_list(folder / "params.yaml", "probes", [])
    _share_cache(checkout, folder)
    return folder


def keep_variant(checkout: Path, folder: Path, variant: Variant, percents: list[int]) -> None:
    """Write what is needed to apply a variant later."""
    kept = checkout / KEPT / variant.id
    about: dict[str, Any] = {"name": variant.name, "overrides": dict(variant.overrides), "percents": percents}
    write_json(kept / "variant.json", about)
    write_text(kept / "lock.yaml", (folder / "dvc.lock").read_text(encoding="utf-8"))


def apply_variant(checkout: Path, name: str) -> dict[str, Any]:
    """Give a checkout the parameters and the dvc.lock of a variant that was kept.

    Returns:
        name, overrides and percents.

    Raises:
        SweepError: there is none of that name; the message has all.
    """
    kept = {path.parent: read_json(path) for path in sorted((checkout / KEPT).glob("*/variant.json"))}
    wanted = name.rpartition("/")[0] or name
    for folder, about in kept.items():
        if wanted in (about["name"], folder.name):
            set_values(checkout / "params.yaml", about["overrides"])
            set_list(checkout / "params.yaml", "percents", about["percents"])
            set_list(checkout / "params.yaml", "probes", [])
            write_text(checkout / "dvc.lock", (folder / "lock.yaml").read_text(encoding="utf-8"))
            return dict(about)
    known = ", ".join(about["name"] for about in kept.values()) or "none is kept here"
    raise SweepError(f"no variant '{wanted}'; there are: {known}")


def close_variant(checkout: Path, folder: Path) -> None:
    """Remove the worktree of a variant; the cache keeps its results."""
    _git(checkout, "worktree", "remove", "--force", str(folder))


def _share_cache(checkout: Path, folder: Path) -> None:
    local = checkout / ".dvc" / "config.local"
    if local.is_file():
        shutil.copy2(local, folder / ".dvc" / "config.local")
    found: list[str] = []
    command = [shutil.which("dvc", path=environment()["PATH"]) or "dvc"]
    try:
        stream([*command, "cache", "dir"], found.append, checkout, environment())
        stream([*command, "config", "--local", "cache.dir", found[-1]], found.append, folder, environment())
    except CommandError as error:
        raise SweepError(f"cannot share the DVC cache of {checkout} with {folder}: {error}") from error


def _names(checkout: Path, *options: str) -> list[str]:
    return [name for name in _git(checkout, "ls-files", "-z", *options).split("\0") if name]


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        raise SweepError(
            f"other axes than percent need git worktrees, and `git {' '.join(words)}` failed in {folder}: "
            f"{done.stderr.strip()}"
        )
    return done.stdout
