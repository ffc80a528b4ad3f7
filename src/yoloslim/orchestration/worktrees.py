"""A sweep's jobs in other checkouts: a worker takes the driver's state as a commit, and shares its cache.

On the driver's machine a worker makes itself a git worktree, with DVC's cache set to the driver's. On another machine
it is started in a clone, whose cache is set to the shared one by whoever starts it (`dvc cache dir --local`).
"""

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from yoloslim.errors import SweepError

FOLDER = Path(".cache") / "sweep" / "workers"
MESSAGE = "state of a sweep"
NAMES = {"user.name": "yoloslim sweep", "user.email": "sweep@localhost"}


@dataclass(frozen=True)
class Snapshot:
    """The driver's checkout as it is, uncommitted changes and new files included.

    Attributes:
        host: the driver's machine.
        homes: folders there that are the driver's own: the checkout, and the one that the sweep was started in.
        checkout: on that machine.
        cache: DVC's there.
        commit: that holds the state.
        base: the commit under it, which every clone has.
        ref: name of the commit in the bundle.
        bundle: what lies between the two, as `git bundle` packs it.
    """

    host: str
    homes: tuple[Path, ...]
    checkout: Path
    cache: Path
    commit: str
    base: str
    ref: str
    bundle: bytes


@dataclass(frozen=True)
class Place:
    """Where a job runs: a checkout that is its own for the time, and the lock's descriptors for its subprocesses."""

    checkout: Path
    fds: tuple[int, ...] = ()


def take_snapshot(checkout: Path) -> Snapshot:
    """Record a checkout without touching its index, branch or files.

    Raises:
        SweepError: it is no git repository, or has no commit yet.
    """
    base = git(checkout, "rev-parse", "HEAD")
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git(checkout, "read-tree", "HEAD", environment=index)
        git(checkout, "add", "--all", environment=index)
        tree = git(checkout, "write-tree", environment=index)
        author = [word for name, value in NAMES.items() for word in ("-c", f"{name}={value}")]
        commit = git(checkout, *author, "commit-tree", tree, "-p", base, "-m", MESSAGE)
        ref = f"refs/yoloslim/{commit}"
        git(checkout, "update-ref", ref, commit)
        bundle = Path(folder) / "bundle"
        git(checkout, "bundle", "create", "--quiet", str(bundle), ref, f"^{base}")
        git(checkout, "update-ref", "-d", ref)
        homes = (checkout.resolve(), Path.cwd().resolve())
        cache, packed = cache_of(checkout), bundle.read_bytes()
        return Snapshot(platform.node(), homes, homes[0], cache, commit, base, ref, packed)


def cache_of(checkout: Path) -> Path:
    """DVC's cache of a checkout."""
    from dvc.repo import Repo  # a second, and only needed for other checkouts

    with Repo(str(checkout)) as repo:
        return Path(repo.cache.local.path).parents[1].resolve()


@contextmanager
def own_checkout(snapshot: Snapshot) -> Iterator[Place]:
    """A checkout in the snapshot's state that nobody else uses: the worker's own clone, else a worktree.

    A worktree stays for the next job. If this process is killed, the checkout counts as used until the subprocesses
    that were given the descriptors have ended.

    Raises:
        SweepError: Git refuses.
    """
    with ExitStack() as held:
        place = _clone(snapshot, held) or _worktree(snapshot, held)
        try:
            git(place.checkout, "cat-file", "-e", f"{snapshot.commit}^{{commit}}")
        except SweepError:  # a clone, perhaps on another machine
            _fetch(place.checkout, snapshot)
        git(place.checkout, "checkout", "--quiet", "--force", "--detach", snapshot.commit)
        yield place


def _clone(snapshot: Snapshot, held: ExitStack) -> Place | None:
    """The folder that the worker was started in, if it is a checkout of this project and not the driver's own.

    Raises:
        SweepError: somebody works in it.
    """
    here = Path.cwd().resolve()
    drivers = platform.node() == snapshot.host and here in snapshot.homes
    if drivers or not (here / ".dvc").is_dir() or not (here / "dvc.yaml").is_file():
        return None
    fd = _lock(here / ".cache" / "sweep" / "worker.lock", held, wait=True)
    if git(here, "log", "-1", "--format=%s") != MESSAGE and git(here, "status", "--porcelain"):
        raise SweepError(f"{here} has changes that are not committed; start the worker in a clone of its own")
    return Place(here, (fd,) if fd is not None else ())


def _worktree(snapshot: Snapshot, held: ExitStack) -> Place:
    main = snapshot.checkout
    if platform.node() != snapshot.host or not main.is_dir():
        raise SweepError(
            f"there is no {main} on this machine, and {Path.cwd()} is no checkout; start the worker in a clone whose "
            "cache is the driver's (docs/scaling.md)"
        )
    number = 0
    while (fd := _lock(main / FOLDER / f"{number}.lock", held)) is None:
        number += 1
    checkout = main / FOLDER / str(number)
    if not belongs(checkout, main):
        shutil.rmtree(checkout, ignore_errors=True)
        with FileLock(main / FOLDER / "git.lock"):
            git(main, "worktree", "prune")
            git(main, "worktree", "add", "--quiet", "--force", "--detach", str(checkout), snapshot.commit)
    links = "reflink,hardlink,symlink,copy"  # no second copy of the data
    config = f'[core]\n    analytics = false\n[cache]\n    dir = {snapshot.cache}\n    type = "{links}"\n'
    (checkout / ".dvc" / "config.local").write_text(config, encoding="utf-8")
    return Place(checkout, (fd,))


def belongs(worktree: Path, checkout: Path) -> bool:
    """Whether a folder is a worktree of a checkout's repository; one in a project that was copied is the original's."""
    try:
        return (worktree / ".git").exists() and _repository(worktree) == _repository(checkout)
    except SweepError:  # of a project that was moved
        return False


def _repository(checkout: Path) -> Path:
    return (checkout / git(checkout, "rev-parse", "--git-common-dir")).resolve()


def _fetch(checkout: Path, snapshot: Snapshot) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        bundle.write_bytes(snapshot.bundle)
        try:
            git(checkout, "cat-file", "-e", f"{snapshot.base}^{{commit}}")
        except SweepError:
            git(checkout, "fetch", "--quiet", "--all")
        git(checkout, "fetch", "--quiet", str(bundle), snapshot.ref)


def _lock(path: Path, held: ExitStack, *, wait: bool = False) -> int | None:
    """Lock a file for as long as the stack lives; its descriptor, or None if another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fds: list[int] = []
    try:
        held.enter_context(FileLock(path, timeout=-1 if wait else 0, fallback_to_soft=False, on_acquired=fds.append))
    except Timeout:
        return None
    return fds[0]


def git(checkout: Path, *words: str, environment: dict[str, str] | None = None) -> str:
    """Run Git in a checkout; what it prints.

    Raises:
        SweepError: it failed; the message holds what it said.
    """
    command: Sequence[str] = ["git", *words]
    done = subprocess.run(
        command,
        cwd=checkout,
        env=os.environ | (environment or {}),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise SweepError(f"`git {' '.join(words[:3])}` failed in {checkout}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()
