"""MLflow against a real SQLite store."""

import contextlib
import getpass
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.results.made import PARAMS, percent
from yoloslim.errors import TrackingError
from yoloslim.results.links import VIEW_TAG, RunLinks
from yoloslim.results.records import read_rows
from yoloslim.results.results import read_results
from yoloslim.results.uris import absolute_uri
from yoloslim.tracking.connection import COLUMNS
from yoloslim.tracking.mlflow import is_known, sync
from yoloslim.tracking.naming import run_key

URI = "sqlite:///mlflow.db"
ALL = ("baseline", "sparse", "prune@30", "prune@50")


def runs(root: Path) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=absolute_uri(URI, root))
    experiment = client.get_experiment_by_name("trial")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))


@pytest.mark.slow
def test_every_row_gets_one_run_and_keeps_it(root: Path) -> None:
    assert sync(read_results(root, PARAMS), URI, "trial").created == ALL
    found = runs(root)
    assert [run.info.run_name for run in found] == list(ALL)
    half = found[3]
    assert half.data.metrics["map50"] == 0.778
    assert half.data.metrics["pytorch/map50"] == 0.78
    assert half.data.metrics["speed_fps"] == 250
    assert half.data.params["percent"] == "50"
    assert half.data.params["yaml.prune.scope"] == "source"
    assert len({frozenset(run.data.params) for run in found}) == 1
    tags = half.data.tags
    assert tags["mlflow.note.content"].startswith("50 % pruned and finetuned: mAP50 0.778 (baseline 0.799)")
    assert (tags["mlflow.source.name"], tags["mlflow.user"]) == ("pipeline/finetune.py", getpass.getuser())
    assert (tags["stage"], tags["percent"], tags["backend"]) == ("pruned", "50", "onnxruntime-cpu")
    assert tags["ranked_by"] == "gamma, mean"
    assert all(run.data.tags["yoloslim.current"] == "true" for run in found)
    _curves_and_files(root, half)
    assert "50 % pruned" in _comparison(root)
    _links_of_the_page_find_the_run(root, half)

    again = sync(read_results(root, PARAMS), URI, "trial")
    assert (again.created, again.unchanged) == ((), ALL)
    assert sync(read_results(root, PARAMS), URI, "trial", force=True).created == ()
    assert len(runs(root)) == 4
    _changes_supersede(root)
    _interrupted_and_deleted_runs_come_back(root)


def _links_of_the_page_find_the_run(root: Path, run: Any) -> None:
    """The search that a link carries is asked of MLflow itself; its own page does the same with what it is given."""
    from mlflow import MlflowClient

    links = RunLinks(URI, "trial", root)
    row = next(row for row in read_rows(root) if row.name == "prune@50")
    address, _, query = links.of(row).partition("&searchFilter=")
    assert address == f"http://127.0.0.1:5000/#/experiments/{run.info.experiment_id}/runs?workflowType=machine_learning"
    assert links.all == f"{address}&viewStateShareKey=yoloslim"
    assert set(COLUMNS) <= set(run.data.metrics)
    client = MlflowClient(tracking_uri=absolute_uri(URI, root))
    found = client.search_runs([run.info.experiment_id], unquote(query))
    assert [each.info.run_id for each in found] == [run.info.run_id]


def _curves_and_files(root: Path, run: Any) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=absolute_uri(URI, root))
    curve = client.get_metric_history(run.info.run_id, "val/map50")
    assert [(point.step, round(point.value, 3)) for point in curve] == [(1, 0.26), (2, 0.52), (3, 0.78)]
    assert [p.step for p in client.get_metric_history(run.info.run_id, "val/map50_95")] == [2, 3]
    files = [
        item.path
        for folder in ("", "plots", "pruning", "weights")
        for item in client.list_artifacts(run.info.run_id, folder)
    ]
    pictures = [f"plots/{name}.png" for name in ("channels", "confusion", "quality")]
    assert files == [
        *("params.yaml", "plots", "pruning", "weights"),
        *pictures,
        "pruning/layers.md",
        "pruning/report.json",
        "weights/model.safetensors",
    ]
    stored = root / "mlartifacts" / run.info.run_id / "artifacts/weights/model.safetensors"
    assert stored.read_bytes() == (root / "models/finetune/50/model.safetensors").read_bytes()


def _comparison(root: Path) -> str:
    """The table of all models, which the baseline's run has beside the chart, without any sweep."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=absolute_uri(URI, root))
    (number,) = {run.info.run_id for run in runs(root) if run.info.run_name == "baseline"}
    found = {item.path for item in client.list_artifacts(number, "comparison")}
    assert found == {"comparison/comparison.md", "comparison/comparison.png"}
    return Path(client.download_artifacts(number, "comparison/comparison.md")).read_text()


def _changes_supersede(root: Path) -> None:
    model = root / "models/finetune/50/model.safetensors"
    before = model.read_bytes()
    model.write_bytes(b"trained again")
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        database.execute("DELETE FROM experiment_tags WHERE key = ?", (VIEW_TAG,))  # as of an earlier version
    assert sync(read_results(root, PARAMS), URI, "trial").created == ("prune@50",)
    (old,) = (run for run in runs(root) if run.data.tags["yoloslim.current"] == "false")
    assert old.info.run_name == "prune@50 (old)"
    assert RunLinks(URI, "trial", root).all.endswith("&viewStateShareKey=yoloslim")
    assert "| 50 % pruned | 0.778 |" in _comparison(root)
    model.write_bytes(before)  # as `git checkout` and `dvc checkout` do
    assert sync(read_results(root, PARAMS), URI, "trial").created == ()
    assert [run.data.tags["yoloslim.current"] for run in runs(root)] == ["true"] * 4 + ["false"]
    assert [run.info.run_name for run in runs(root)] == [*ALL, "prune@50 (old)"]


def _interrupted_and_deleted_runs_come_back(root: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=absolute_uri(URI, root))
    half_way = runs(root)[0].info.run_id
    client.update_run(half_way, status="RUNNING")
    client.delete_run(runs(root)[1].info.run_id)
    assert sync(read_results(root, PARAMS), URI, "trial").created == ("baseline", "sparse")
    assert half_way not in [run.info.run_id for run in runs(root)]


@pytest.mark.slow
def test_first_use_is_safe_in_parallel_and_says_nothing(root: Path) -> None:
    call = "from pathlib import Path; from yoloslim.tracking.mlflow import sync; "
    call += "from yoloslim.results.results import read_results; "
    call += f"print(sync(read_results(Path({str(root)!r}), {PARAMS | {'percents': []}!r}), {URI!r}, 'trial').created)"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([sys.executable, "-c", call], **pipes) for _ in range(2)]
    ends = [process.communicate(timeout=1800) for process in both]
    assert sorted(out for out, _ in ends) == ["('baseline', 'sparse')\n", "()\n"]
    assert [err for _, err in ends] == ["", ""]


def test_a_deleted_store_is_not_taken_for_one_that_knows(root: Path) -> None:
    keys = {row.name: run_key(row) for row in read_rows(root)}
    assert not is_known(root, absolute_uri(URI, root), "trial", keys)
    (root / "mlflow.db").write_bytes(b"")
    assert not is_known(root, absolute_uri(URI, root), "trial", keys)
    assert not is_known(root, "http://127.0.0.1:9", "trial", keys)


@pytest.mark.slow
def test_a_percent_is_added_without_touching_the_others_and_a_removed_one_stays_out(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = PARAMS | {"percents": [30]}
    assert sync(read_results(root, few), URI, "trial").created == ALL[:3]
    copy = _copied_with_its_store(root, few)
    percent(copy, 70, 0.7)
    assert sync(read_results(copy, PARAMS | {"percents": [30, 70]}), URI, "trial").created == ("prune@70",)
    assert "70 % pruned" in _comparison(copy)
    assert "70 % pruned" not in _comparison(root)
    new = runs(copy)[-1].info
    assert new.artifact_uri == (copy / "mlartifacts" / new.run_id / "artifacts").as_uri()
    assert (copy / "mlartifacts" / new.run_id / "artifacts/params.yaml").is_file()
    assert not (root / "mlartifacts" / new.run_id).exists()
    assert sync(read_results(copy, few), URI, "trial").created == ()
    assert "70 % pruned" not in _comparison(copy)
    _experiments_of_dvc_leave_the_checkouts_runs_current(copy, monkeypatch)


def _experiments_of_dvc_leave_the_checkouts_runs_current(main: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, before, compared = PARAMS | {"percents": [30]}, len(runs(main)), _comparison(main)
    copy = main / ".dvc/tmp/exps/tmp1"
    copy.mkdir(parents=True)
    for name in ("models", "metrics", "data"):
        shutil.copytree(main / name, copy / name)
    (copy / ".dvc").mkdir()
    (copy / "models/finetune/30/model.safetensors").write_bytes(b"other")
    monkeypatch.setenv("DVC_EXP_NAME", "wide")
    assert sync(read_results(copy, few), URI, "trial").created == ("prune@30",)
    assert sync(read_results(copy, few), URI, "trial").created == ()
    (*_, new) = found = runs(main)
    assert (new.info.run_name, new.data.tags["yoloslim.experiment"]) == ("prune@30 (wide)", "wide")
    assert len(found) == before + 1
    assert _comparison(main) == compared
    monkeypatch.delenv("DVC_EXP_NAME")
    assert sync(read_results(main, few), URI, "trial", force=True).created == ()
    current = {run.info.run_name for run in runs(main) if run.data.tags["yoloslim.current"] == "true"}
    assert {"baseline", "sparse", "prune@30"} <= current
    shutil.copy(copy / "models/finetune/30/model.safetensors", main / "models/finetune/30")  # as `dvc exp apply` does
    assert sync(read_results(main, few), URI, "trial").created == ()
    assert [run.info.run_name for run in runs(main) if "prune@30" in run.info.run_name] == [
        "prune@30 (old)",
        "prune@30",
    ]


def _copied_with_its_store(root: Path, params: dict[str, Any]) -> Path:
    """A copy of the project, whose store names files of the original until its first sync, with new results or none."""
    from mlflow.tracking._tracking_service import utils

    copy = root.with_name("copy with space")
    shutil.copytree(root, copy)
    utils._artifact_repos_cache.clear()  # of a process, and people work on a copy in another one
    assert sync(read_results(copy, params), URI, "trial").created == ()
    assert {run.info.artifact_uri for run in runs(copy)} == {
        (copy / "mlartifacts" / run.info.run_id / "artifacts").as_uri() for run in runs(root)
    }
    return copy


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://127.0.0.1:9", r"MLflow at http://127.0.0.1:9 cannot be reached .*run `make track` later"),
        ("postgresql://me:secret@127.0.0.1:9/x", r"MLflow at postgresql://127.0.0.1:9/x cannot be .*refused"),
        ("mlflow.db", r"tracking.uri 'mlflow.db' is no address of MLflow: write sqlite:///mlflow.db"),
        (
            "sqlite:////proc/nowhere/mlflow.db",
            r"^tracking.uri is sqlite:////proc/nowhere/mlflow.db, but /proc/nowhere/mlartifacts cannot be written to "
            r"\(No such file or directory\); .* or name another place in tracking.uri; nothing is lost",
        ),
    ],
)
def test_an_unreachable_server_is_said_within_seconds(root: Path, uri: str, said: str) -> None:
    import mlflow.tracking  # noqa: F401  # whose import may take longer than any waiting

    start = time.perf_counter()
    with pytest.raises(TrackingError, match=said):
        sync(read_results(root, PARAMS), uri, "trial")
    assert time.perf_counter() - start < 60  # MLflow itself tries for minutes


def test_a_server_that_never_answers_is_given_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow.tracking  # noqa: F401  # as above

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "0.5")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri, start = f"http://127.0.0.1:{silent.getsockname()[1]}", time.perf_counter()
        with pytest.raises(TrackingError, match=rf"MLflow at {uri} cannot be reached \(no answer\); nothing is lost"):
            sync(read_results(root, PARAMS), uri, "trial")
    assert time.perf_counter() - start < 60  # MLflow itself tries for minutes


def test_passwords_in_a_uri_are_never_shown(root: Path) -> None:
    with pytest.raises(TrackingError) as error:
        sync(read_results(root, PARAMS), "http://me:secret@127.0.0.1:9/path", "trial")
    assert "http://127.0.0.1:9/path" in str(error.value)
    assert "secret" not in str(error.value)
