"""Tracking URIs: where they point, and how they may be shown."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

DATABASES = ("postgresql", "mysql", "mssql")
"""Schemes of database servers that MLflow takes besides SQLite's files, perhaps with a driver: mysql+pymysql."""


def chosen_uri(setting: str) -> str:
    """Where MLflow is: what the environment says, else params.yaml's setting."""
    return os.environ.get("MLFLOW_TRACKING_URI") or setting


def wrong_uri(uri: str) -> str:
    """What is wrong with the form of a tracking URI, and what to write; empty if nothing is."""
    scheme = uri.partition(":")[0].partition("+")[0]
    if re.fullmatch(r"(sqlite:/*)?[^:]+\.(db|sqlite3?)", uri) and not uri.startswith("sqlite:///"):
        return f"write sqlite:///{re.sub('^sqlite:/*', '', uri)}"
    if re.match(r"[\w.-]+:\d+(/|$)", uri):
        return f"write http://{uri}"
    if scheme == "postgres":
        return "write postgresql:// in front"
    if "://" in uri and scheme not in (*DATABASES, "http", "https", "sqlite", "file", "databricks", "databricks-uc"):
        return f"MLflow keeps no runs there; it takes http, https, sqlite and {', '.join(DATABASES)}"
    if scheme in ("http", "https"):
        try:
            known = urlsplit(uri).hostname and urlsplit(uri).port != 0
        except ValueError as error:
            return f"{error}".lower()
        return "" if known else f"there is no host in it; write {scheme}://host:5000"
    return ""


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
    if above := _copied_below(folder):
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


def trial_of(folder: Path) -> str:
    """The name of DVC's experiment that a folder is a copy for; empty for a checkout of people's own."""
    return os.environ.get("DVC_EXP_NAME") or "experiment" if _copied_below(folder) else ""


def _copied_below(folder: Path) -> Path | None:
    """The folder `.dvc/tmp` above a copy by `dvc exp run --temp` or `--queue`."""
    return next((each for each in folder.parents if each.name == "tmp" and each.parent.name == ".dvc"), None)


def database_of(uri: str) -> Path | None:
    """The file of an absolute SQLite URI; None for servers."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def without_password(uri: str) -> str:
    """The URI as it may be shown and stored: without user and password."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
