"""Tracking URIs: where they point, and how they may be shown."""

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit


def absolute_uri(uri: str, root: Path) -> str:
    """A SQLite URI with an absolute path; other URIs as they are."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix):
        return uri
    return prefix + str(root.resolve() / uri.removeprefix(prefix))


def database_of(uri: str) -> Path | None:
    """The file of an absolute SQLite URI; None for servers."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def without_password(uri: str) -> str:
    """The URI as it may be shown and stored: without user and password."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
