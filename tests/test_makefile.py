"""What the Makefile would do, asked of make itself."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def would_run(checkout: Path, target: str) -> str:
    """The commands of a target, none of which is run."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--dry-run", target]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder whose environment is ready."""
    made = tmp_path / "with space"
    (made / ".venv").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, made)
    (made / ".venv/pyvenv.cfg").write_text(f"command = /usr/bin/python3 -m venv --clear {made}/.venv\n")
    (made / ".venv/.ready").touch()
    return made


def test_an_environment_that_is_ready_is_left_alone_by_whatever_name(checkout: Path) -> None:
    assert "venv" not in would_run(checkout, "setup")
    checkout.with_name("link").symlink_to(checkout)
    assert "venv" not in would_run(checkout.with_name("link"), "setup")
    (checkout / ".venv/pyvenv.cfg").write_text("home = /usr/bin\nuv = 0.9\n")  # of another program
    assert "venv" not in would_run(checkout, "setup")


@pytest.mark.parametrize("copied", [True, False])
def test_that_of_a_copied_or_moved_folder_is_made_anew(checkout: Path, copied: bool) -> None:
    other = checkout.with_name("other")
    if copied:
        shutil.copytree(checkout, other)
    else:
        checkout.rename(other)
    commands = would_run(other, "track").splitlines()
    assert "rm -rf .venv" in commands
    assert commands.index("rm -rf .venv") < commands.index("python3 -m venv .venv")
    assert commands.index("python3 -m venv .venv") < commands.index("python -m pipeline.track")
