"""Which worktrees are a checkout's own."""

import shutil
from pathlib import Path

import pytest

from yoloslim.orchestration.worktrees import belongs, git


@pytest.fixture
def main(tmp_path: Path) -> Path:
    """A checkout with a worktree inside, as a sweep leaves it."""
    checkout = tmp_path / "main"
    checkout.mkdir()
    git(checkout, "init", "--quiet")
    git(checkout, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-m", "first")
    git(checkout, "worktree", "add", "--quiet", "--detach", str(checkout / "inside"))
    return checkout


def test_a_worktree_that_was_copied_or_moved_with_its_project_is_not_its_own(main: Path, tmp_path: Path) -> None:
    assert belongs(main / "inside", main)
    assert not belongs(main / "nothing", main)
    copied, moved = tmp_path / "copied", tmp_path / "moved"
    shutil.copytree(main, copied)
    assert not belongs(copied / "inside", copied)  # Git would work on the original's repository
    main.rename(moved)
    assert not belongs(moved / "inside", moved)
