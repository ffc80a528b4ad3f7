"""Sweeps and the model registry against a real SQLite store."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.results.made import PARAMS, percent
from tests.results.sweeps import leave, point, sweep
from yoloslim.results.results import read_results
from yoloslim.results.uris import absolute_uri
from yoloslim.sweeping.champion import is_better
from yoloslim.tracking.mlflow import SyncResult, sync
from yoloslim.tracking.sweep_runs import content_key, request_key, with_overrides

URI = "sqlite:///mlflow.db"
POINTS = (point(30, map50=0.79, fps=210), point(40, "probed"), point(50), point(70, "failed", map50=0.1))


def call(root: Path) -> SyncResult:
    return sync(read_results(root, PARAMS), URI, "trial", better=is_better)


def client_of(root: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=absolute_uri(URI, root))


def children(client: Any, parent: str) -> dict[str, Any]:
    (experiment,) = (e for e in client.search_experiments() if e.name == "trial")
    found = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert all(run.info.run_name == f"{run.data.tags['yoloslim.point']} %" for run in found)
    return {run.data.tags["yoloslim.point"]: run for run in found}


def parents(client: Any) -> list[Any]:
    (experiment,) = (e for e in client.search_experiments() if e.name == "trial")
    order = ["attributes.start_time ASC"]
    return list(client.search_runs([experiment.experiment_id], "tags.`yoloslim.slot` = 'sweep'", order_by=order))


@pytest.mark.slow
def test_a_sweep_is_a_parent_with_a_run_for_every_point_and_its_winner_the_champion(root: Path) -> None:
    leave(root, sweep(*POINTS))
    assert call(root).champion == "trial version 1 is the champion now: there was none"
    client = client_of(root)
    (parent,) = parents(client)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["sweep/finetunings"] == 2
    said = "Winner 50 %: 50 % is the fastest that keeps its mAP."
    assert parent.data.tags["mlflow.note.content"] == said
    assert said in Path(client.download_artifacts(parent.info.run_id, "comparison.md")).read_text()
    assert parent.data.metrics["speed_fps"] == 250
    assert parent.data.params["sweep.objective"] == "fastest"
    assert json.loads(Path(client.download_artifacts(parent.info.run_id, "sweep.json")).read_text())["winner"] == "50"
    runs = children(client, parent.info.run_id)
    assert set(runs) == {"30", "40", "50", "70"}
    states = {name: run.info.status for name, run in runs.items()}
    assert states == {"30": "FINISHED", "40": "FINISHED", "50": "FINISHED", "70": "FAILED"}
    assert runs["70"].data.tags["mlflow.note.content"] == "exited with 1"
    assert {item.path for item in client.list_artifacts(parent.info.run_id)} == {
        *("comparison.md", "comparison.png", "params.yaml", "sweep.json"),
    }
    assert len({frozenset(run.data.params) for run in runs.values()}) == 1
    assert runs["30"].data.metrics.keys() == runs["50"].data.metrics.keys()
    assert runs["40"].data.metrics.keys() < runs["50"].data.metrics.keys()
    assert runs["40"].data.metrics["prune/map50"] == 0.39
    assert (runs["40"].data.tags["status"], runs["50"].data.tags["winner"]) == ("probed", "true")

    champion = client.get_model_version_by_alias("trial", "champion")
    assert {k: champion.tags[k] for k in ("percent", "fps", "backend")} == {
        "percent": "50",
        "fps": "250",
        "backend": "onnxruntime-cpu",
    }
    assert float(champion.tags["map50"]) == 0.778
    assert not [name for name in champion.tags if name.endswith(("_pytorch", "_deployed"))]
    assert champion.description == "50 % pruned: 50 % is the fastest that keeps its mAP"
    assert "models:/trial@champion" in client.get_registered_model("trial").description
    model = Path(client.get_model_version_download_uri("trial", champion.version).removeprefix("file://"))
    assert (model / "data/detector/model.onnx").read_bytes() == (root / "models/export/50/model.onnx").read_bytes()
    weights = Path(client.download_artifacts(champion.run_id, "weights/model.safetensors"))
    assert weights.read_bytes() == (root / "models/finetune/50/model.safetensors").read_bytes()

    assert call(root).created == ()
    _what_broke_off_is_made_good(root, client, parent.info.run_id, states)
    _the_alias_moves_to_what_is_better_and_only_then(root, client)


def _what_broke_off_is_made_good(root: Path, client: Any, parent: str, states: dict[str, str]) -> None:
    """As a server leaves it that dies between two calls."""
    runs = children(client, parent)
    client.delete_run(runs["30"].info.run_id)
    client.update_run(runs["50"].info.run_id, status="RUNNING")
    client.delete_tag(parent, "yoloslim.key")
    assert call(root).created == ("30",)
    mended = children(client, parent)
    assert {name: run.info.status for name, run in mended.items()} == states
    assert mended["30"].data.metrics == runs["30"].data.metrics
    assert len(parents(client)) == 1
    leave(root, sweep(*POINTS[:3], point(70, map50=0.1), point(80, "probed")))  # the same sweep, gone on with
    assert call(root).created == ("80",)
    assert len(parents(client)) == 1
    assert children(client, parent)["70"].data.metrics["map50"] == 0.098


def _the_alias_moves_to_what_is_better_and_only_then(root: Path, client: Any) -> None:
    def champion() -> tuple[int, str]:
        found = client.get_model_version_by_alias("trial", "champion")
        return int(found.version), found.tags["percent"]

    leave(root, sweep(*POINTS, winner="30", name="another"))
    assert call(root).champion == "trial version 2 is not better than the champion, version 1, which stays"
    assert champion() == (1, "50")
    percent(root, 60, 0.78)
    better = sweep(point(60, fps=400), *POINTS, winner="60", name="third")
    leave(root, better)
    found = sync(read_results(root, PARAMS | {"percents": [30, 50, 60]}), URI, "trial", better=is_better)
    assert found.champion == "trial version 3 is the champion now: better than version 1"
    assert champion() == (3, "60")
    leave(root, sweep(*POINTS))
    assert "version 1 is not better than the champion, version 3" in call(root).champion
    assert champion() == (3, "60")
    assert len(client.search_model_versions("name = 'trial'")) == 3
    told = [(run.info.run_name, run.data.tags["yoloslim.current"]) for run in parents(client)]
    assert told == [("sweep: nightly", "true"), ("sweep: another (old)", "false"), ("sweep: third (old)", "false")]
    _a_sweep_that_was_deleted_takes_its_points_along(root, client)


def _a_sweep_that_was_deleted_takes_its_points_along(root: Path, client: Any) -> None:
    (deleted, *_) = parents(client)
    client.delete_run(deleted.info.run_id)
    assert set(call(root).created) == {"30", "40", "50", "70"}
    assert children(client, deleted.info.run_id) == {}
    assert [run.info.run_name for run in parents(client)][-1] == "sweep: nightly"
    assert len(parents(client)) == 3


def test_keys_tell_sweeps_apart() -> None:
    result = sweep(*POINTS)
    slower = result.model_copy(update={"seconds": 99.0})
    more = sweep(*POINTS, point(80))
    assert content_key(result) == content_key(slower) != content_key(more)
    assert request_key(result, PARAMS) == request_key(more, PARAMS)
    assert request_key(result, PARAMS) != request_key(result, PARAMS | {"finetune": {"epochs": 9}})
    assert request_key(result, PARAMS) != request_key(sweep(*POINTS, name="another"), PARAMS)


def test_overrides_reach_into_sections() -> None:
    changed = with_overrides(PARAMS, {"prune.scope": "free", "imgsz": 96})
    assert (changed["prune"], changed["imgsz"]) == ({"scope": "free"}, 96)
    assert PARAMS["prune"] == {"scope": "source"}
