"""A project of one's own: the files of this repository, which the wheel carries, in a folder with Git and DVC."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from yoloslim.errors import ConfigError
from yoloslim.extras import advice, is_installed

HERE = Path(__file__).parent
README = "README.md"
NAMES = {"user.name": "yoloslim init", "user.email": "init@localhost"}
"""Of the first commit, where Git knows nobody."""


def project_files() -> dict[str, Path]:
    """What a project consists of: path in it -> file to copy.

    Raises:
        ConfigError: the installation has none of them.
    """
    packed, checkout = HERE / "files", HERE.parents[2]
    root = packed if packed.is_dir() else checkout
    if not (root / "dvc.yaml").is_file():
        raise ConfigError(f"{HERE} lacks the files of a project; install yoloslim again, from its wheel")
    names = ["dvc.yaml", "params.yaml", "prefect.yaml", ".gitignore", ".dvcignore"]
    scripts = [path for pattern in ("pipeline/*.py", "flows/*.py", "flows/*.json") for path in root.glob(pattern)]
    found = {name: root / name for name in names} | {str(path.relative_to(root)): path for path in sorted(scripts)}
    return found | {README: HERE / README}


def init_project(folder: Path) -> list[str]:
    """Make a project; nothing that is there already is overwritten.

    Args:
        folder: new, empty, or with files of other names.

    Returns:
        Paths that were written.

    Raises:
        ConfigError: a file of the project is there already, the folder cannot be written, Git or DVC fails.
    """
    files = project_files()
    if (folder / README).exists():
        del files[README]
    present = [name for name in files if (folder / name).exists()]
    if present:
        more = " ..." if len(present) > 3 else ""
        raise ConfigError(
            f"{folder} has {', '.join(present[:3])}{more} already, and nothing is overwritten; name another folder"
        )
    if shutil.which("git") is None:
        raise ConfigError("git is not installed, and a project's versions are kept by it; apt-get install git")
    if not is_installed("dvc"):
        raise ConfigError(f"DVC is not installed, and a project's stages are run by it; {advice('dvc')}")
    try:
        for name, source in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
    except OSError as error:
        raise ConfigError(f"cannot write the project to {folder}: {error.strerror or error}") from error
    if not (folder / ".git").exists():
        _run(folder, "git", "init", "--quiet")
    if not (folder / ".dvc").exists():
        _run(folder, sys.executable, "-m", "dvc", "init", "--quiet")
        for setting in ("core.analytics", "core.autostage"):
            _run(folder, sys.executable, "-m", "dvc", "config", setting, "false")
    _run(folder, "git", "add", "--", *files, ".dvc")
    known = (
        subprocess.run(["git", "config", "user.email"], cwd=folder, capture_output=True, check=False).returncode == 0
    )
    author = [] if known else [word for name, value in NAMES.items() for word in ("-c", f"{name}={value}")]
    _run(folder, "git", *author, "commit", "--quiet", "--message", "A project of yoloslim", "--", *files, ".dvc")
    return list(files)


def _run(folder: Path, *command: str) -> None:
    words: Sequence[str] = command
    done = subprocess.run(words, cwd=folder, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        shown = " ".join("dvc" if word == sys.executable else word for word in command[:4]).replace("dvc -m dvc", "dvc")
        raise ConfigError(f"`{shown}` failed in {folder}: {done.stderr.strip() or done.stdout.strip()}")
