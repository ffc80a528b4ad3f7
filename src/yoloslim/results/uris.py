"""Tracking URIs: where they point, and how they may be shown."""

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit


def chosen_uri(setting: str) -> str:
    """Where MLflow is: what the environment says, else params.yaml's setting."""
    return os.environ.get("MLFLOW_TRACKING_URI", setting)


def absolute_uri(uri: str, root: Path) -> str:
    """A SQLite URI with an absolute path; other URIs as they are.

    A relative path is below the project's folder, also where `root` is a copy of it that will be deleted.
    """
    prefix = "sqlite:///"
    if not uri.startswith(prefix):
        return uri
    return prefix + str(project_of(root.resolve()) / uri.removeprefix(prefix))


def project_of(folder: Path) -> Path:
    """The folder of the project that a checkout belongs to; itself where it is no copy.

    `dvc exp run --temp` and `--queue` copy the project below its own `.dvc/tmp`, and sweeps and people make worktrees,
    whose `.git` is a file that names the repository.
    """
    for above in folder.parents:
        if above.name == "tmp" and above.parent.name == ".dvc":
            copy = next((each for each in (folder, *folder.parents) if (each / ".dvc").is_dir()), folder)
            return project_of(above.parent.parent / folder.relative_to(copy))
    for above in (folder, *folder.parents):
        link = above / ".git"
        if link.is_dir():
            return folder
        if link.is_file():
            words = link.read_text(encoding="utf-8").partition("gitdir:")[2].strip()
            shared = (above / words).resolve()
            if shared.parent.name == "worktrees" and shared.parents[1].name == ".git":
                return shared.parents[2] / folder.relative_to(above)
            return folder  # a submodule, or a repository without a checkout
    return folder


def database_of(uri: str) -> Path | None:
    """The file of an absolute SQLite URI; None for servers."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def without_password(uri: str) -> str:
    """The URI as it may be shown and stored: without user and password."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
