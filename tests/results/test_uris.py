"""Tracking URIs."""

from pathlib import Path

import pytest

from yoloslim.results.uris import absolute_uri, database_of, without_password


def test_a_relative_database_lies_below_the_root(tmp_path: Path) -> None:
    uri = absolute_uri("sqlite:///mlflow.db", tmp_path)
    assert uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert absolute_uri(uri, Path("/elsewhere")) == uri
    assert database_of(uri) == tmp_path / "mlflow.db"
    assert database_of(absolute_uri("http://host:5000", tmp_path)) is None


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://me:p@ss@host:5000/x", "https://host:5000/x"),
        ("postgresql://me:secret@host/db", "postgresql://host/db"),
        ("http://host", "http://host"),
        ("sqlite:////a@b/mlflow.db", "sqlite:////a@b/mlflow.db"),
    ],
)
def test_passwords_are_not_shown(uri: str, shown: str) -> None:
    assert without_password(uri) == shown
