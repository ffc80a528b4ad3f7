"""Which trainings are under way in a project: each holds a lock, which the system frees when its process ends."""

from pathlib import Path

from filelock import FileLock, Timeout


def lock_path(root: Path, key: str) -> Path:
    """The lock of the training whose inputs have this key."""
    return root.resolve() / ".cache" / "live" / f"{key}.lock"


def is_training(root: Path, key: str) -> bool:
    """Whether some process is at this training now; the system frees the lock of one that was killed."""
    lock = FileLock(lock_path(root, key))
    if not Path(lock.lock_file).is_file():
        return False
    try:
        with lock.acquire(blocking=False):
            return False
    except Timeout:
        return True
