"""Links to MLflow's page."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from yoloslim.results.links import VIEW_TAG, RunLinks
from yoloslim.results.records import Row

BEST = Row("prune@50", "pruned", percent=50)


def test_a_server_is_linked_without_its_password_and_by_its_list_of_experiments() -> None:
    links = RunLinks("https://me:secret@host:8443/", "trial", Path())
    assert links.all == links.of(BEST) == "https://host:8443/#/experiments"


def test_a_local_store_that_is_not_there_or_broken_is_linked_by_its_list(tmp_path: Path) -> None:
    for content in (None, b"no database"):
        if content:
            (tmp_path / "mlflow.db").write_bytes(content)
        assert RunLinks("sqlite:///mlflow.db", "trial", tmp_path).of(BEST) == "http://127.0.0.1:5000/#/experiments"


@pytest.mark.parametrize(("tag", "view"), [(VIEW_TAG, "&viewStateShareKey=yoloslim"), ("other", "")])
def test_all_runs_are_linked_in_the_saved_view_where_there_is_one(tag: str, view: str, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        database.execute("CREATE TABLE experiments (experiment_id, name)")
        database.execute("INSERT INTO experiments VALUES (7, 'trial')")
        database.execute("CREATE TABLE experiment_tags (experiment_id, key)")
        database.execute("INSERT INTO experiment_tags VALUES (7, ?)", (tag,))
    runs = "http://127.0.0.1:5000/#/experiments/7/runs?workflowType=machine_learning"
    links = RunLinks("sqlite:///mlflow.db", "trial", tmp_path)
    assert links.all == runs + view
    assert links.of(BEST).startswith(f"{runs}&searchFilter=tags.%60")
    assert RunLinks("sqlite:///mlflow.db", "other", tmp_path).all == "http://127.0.0.1:5000/#/experiments"


def test_a_local_page_is_started_by_the_command_of_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert RunLinks("https://host/", "trial", tmp_path).start == ""
    assert RunLinks("sqlite:///mlflow.db", "trial", tmp_path).start == "python -m yoloslim.stages.ui"
    elsewhere = tmp_path / "checkout"
    elsewhere.mkdir()
    (elsewhere / "Makefile").write_text("ui: ready\n\tmlflow ui\n")
    monkeypatch.chdir(elsewhere)
    assert RunLinks("sqlite:///mlflow.db", "trial", elsewhere).start == "make ui"
