"""Tracking URIs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from yoloslim.results.uris import absolute_uri, chosen_uri, database_of, without_password, wrong_uri


def test_a_relative_database_lies_below_the_root(tmp_path: Path) -> None:
    uri = absolute_uri("sqlite:///mlflow.db", tmp_path)
    assert uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert absolute_uri(uri, Path("/elsewhere")) == uri
    assert database_of(uri) == tmp_path / "mlflow.db"
    assert database_of(absolute_uri("http://host:5000", tmp_path)) is None


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("sqlite://mlflow.db", "write sqlite:///mlflow.db"),
        ("sqlite:mlflow.db", "write sqlite:///mlflow.db"),
        ("mlflow.db", "write sqlite:///mlflow.db"),
        ("/data/runs.sqlite3", "write sqlite:////data/runs.sqlite3"),
        ("localhost:5000", "write http://localhost:5000"),
        ("10.0.0.7:5000/mlflow", "write http://10.0.0.7:5000/mlflow"),
        ("postgres://me@host/x", "write postgresql:// in front"),
        ("s3://bucket/x", "MLflow keeps no runs there; it takes http, https, sqlite and postgresql, mysql, mssql"),
        ("http:/host:5000", "there is no host in it; write http://host:5000"),
        ("http://host:99999", "port out of range 0-65535"),
    ],
)
def test_what_is_no_address_says_what_to_write(uri: str, said: str) -> None:
    assert wrong_uri(uri) == said


@pytest.mark.parametrize(
    "uri",
    [
        *("sqlite:///mlflow.db", "sqlite:////data/mlflow.db", "http://host", "https://me:p@host:5000/x", "databricks"),
        *("databricks://profile", "postgresql://me:p@host/x", "mysql+pymysql://host/x", "mlruns", "file:///mlruns"),
    ],
)
def test_addresses_are_left_to_mlflow(uri: str) -> None:
    assert wrong_uri(uri) == ""


def test_a_variable_that_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert chosen_uri("http://host") == "http://host"


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


def repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    author = ["-c", "user.name=tests", "-c", "user.email=tests@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def test_a_relative_path_is_below_the_project_from_its_worktrees_too(tmp_path: Path) -> None:
    main, tree = repository(tmp_path / "main"), tmp_path / "tree"
    subprocess.run(["git", "worktree", "add", "-q", "--detach", str(tree)], cwd=main, check=True)
    for folder, project in ((main, main), (tree, main), (tree / "sub", main / "sub"), (tmp_path / "x", tmp_path / "x")):
        folder.mkdir(exist_ok=True)
        assert absolute_uri("sqlite:///mlflow.db", folder) == f"sqlite:///{project}/mlflow.db"


@pytest.mark.slow
@pytest.mark.parametrize("way", [["--temp"], ["--queue"]])
def test_a_relative_path_is_below_the_project_where_dvc_runs_a_copy_of_it(tmp_path: Path, way: list[str]) -> None:
    main = repository(tmp_path / "main")
    call = "from pathlib import Path; from yoloslim.results.uris import absolute_uri as a, trial_of; "
    call += "said = [a('sqlite:///mlflow.db', Path()), str(Path().resolve()), trial_of(Path().resolve())]; "
    call += f"open('{tmp_path}/said', 'w').write(' '.join(said))"
    (main / "stage.py").write_text(call)
    (main / "params.yaml").write_text("a: 1\n")
    (main / "dvc.yaml").write_text(f"stages: {{one: {{cmd: {sys.executable} stage.py, params: [a]}}}}")
    dvc = [sys.executable, "-m", "dvc"]
    email = {f"GIT_{who}_{what}": "tests@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def run(*command: str) -> None:
        subprocess.run(command, cwd=main, check=True, capture_output=True, env=os.environ | email)

    run(*dvc, "init", "-q")
    run("git", "add", ".")
    run("git", "commit", "-qm", "all")
    run(*dvc, "exp", "run", *way, "--name", "second", "-S", "a=2")
    if way == ["--queue"]:
        run(*dvc, "exp", "run", "--run-all")
    uri, folder, name = (tmp_path / "said").read_text().split()
    assert name == "second"
    assert folder.startswith(f"{main}/.dvc/tmp/")
    assert uri == f"sqlite:///{main}/mlflow.db"


def test_the_environment_goes_before_params(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert chosen_uri("sqlite:///mlflow.db") == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert chosen_uri("sqlite:///mlflow.db") == "http://tracking:5000"
