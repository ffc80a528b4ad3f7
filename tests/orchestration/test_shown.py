"""What Prefect's server knows of a sweep that a person typed, a point of which fails, and of `make flow` after it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.orchestration.test_schedule import Scheduled

pytestmark = pytest.mark.slow
FAILS = """
if stage == "finetune" and item == "70":
    sys.exit("error: the penalty is too strong")
"""


@pytest.fixture
def toy(tmp_path: Path, home: Path) -> Iterator[Scheduled]:
    (tmp_path / "project").mkdir()
    toy = Scheduled(tmp_path / "project", home)
    stage = toy.root / "stage.py"
    stage.write_text(stage.read_text().replace("percent = int", FAILS + "percent = int", 1))
    params = yaml.safe_load((toy.root / "params.yaml").read_text())
    params["sweep"] |= {"low": 60, "high": 80, "step": 10}
    (toy.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    toy.commit("a point fails")
    try:
        toy.wait(lambda: toy.ask("/health"), 900, "the server answers")
        yield toy
    finally:
        for process in toy.processes:
            toy.stop(process)


def test_runs_are_named_and_logged_and_a_failed_point_is_failed_with_its_log_kept(toy: Scheduled) -> None:
    toy.type("yoloslim sweep objective=smallest max_map_drop=0.02")

    (flow,) = toy.ask("/flow_runs/filter", {})
    assert (flow["name"], flow["state_name"]) == ("smallest yolov5n in project", "Completed")
    assert {"yolov5n", "smallest", "threads"} <= set(flow["tags"])
    assert (flow["parameters"]["wanted"]["low"], flow["parameters"]["wanted"]["model"]) == (60, "yolov5n")
    tasks = ended(toy, flow["id"], {"probe 60 %", "finetune 60 %", "measure 60 %", "finetune 70 %"})
    assert tasks["finetune 70 %"]["state_type"] == "FAILED"
    assert "the penalty is too strong" in tasks["finetune 70 %"]["state"]["message"]
    assert {run["state_type"] for name, run in tasks.items() if name != "finetune 70 %"} == {"COMPLETED"}
    assert "speed" in tasks["measure 60 %"]["tags"]

    said = toy.ask("/logs/filter", {"limit": 200, "logs": {"level": {"ge_": 20}}})
    by_task = {log["task_run_id"] for log in said}
    assert tasks["finetune 70 %"]["id"] in by_task
    assert any(log["task_run_id"] is None and "failed finetune 70 %" in log["message"] for log in said)

    assert "stages that all points share" in [log["message"] for log in said]
    assert all(log["message"].strip() for log in said)

    artifacts = {item["key"]: item for item in toy.ask("/artifacts/filter", {})}
    assert set(artifacts) >= {"points", "progress", "result", "report"}
    assert (toy.root / "report/index.html").as_uri() in artifacts["report"]["data"]
    assert float(artifacts["progress"]["data"]) == 100
    assert artifacts["points"]["description"].startswith("Winner 60 %: the one finetuned point that satisfies ")
    points = {point["name"]: point for point in toy.json("metrics/sweep.json")["points"]}
    assert points["70"]["status"] == "failed"
    assert points["70"]["error"] == "error: the penalty is too strong (.cache/sweep/failed/70.log)"
    assert "the penalty is too strong" in (toy.root / ".cache/sweep/failed/70.log").read_text()

    check_assets(toy, flow["id"])
    toy.type("make flow")
    (plain,) = (run for run in toy.ask("/flow_runs/filter", {}) if run["id"] != flow["id"])
    assert (plain["name"], plain["state_name"]) == ("pipeline yolov5n in project", "Completed")
    assert "yolov5n" in plain["tags"]
    shown = {item["key"]: item for item in toy.ask("/artifacts/filter", {}) if item["flow_run_id"] == plain["id"]}
    chart = shown["comparison"]
    assert (chart["type"], chart["data"].partition(";")[0]) == (
        "markdown",  # whose page shows the picture alone
        "![mAP50, parameters and speed by percent](data:image/png",
    )
    assert all(log["message"].strip() for log in toy.ask("/logs/filter", {"limit": 200}))
    ended(toy, plain["id"], {"dvc repro", "log to MLflow"})
    check_assets(toy, plain["id"])


def ended(toy: Scheduled, flow_run: str, names: set[str]) -> dict[str, dict[str, Any]]:
    """Tasks of a run of a flow by name, once these are among them and all have ended: the server hears of it later."""

    def tasks() -> dict[str, dict[str, Any]]:
        runs = {run["name"]: run for run in toy.ask("/task_runs/filter", {}) if run["flow_run_id"] == flow_run}
        over = all(run["state_type"] in ("COMPLETED", "FAILED", "CRASHED") for run in runs.values())
        return runs if over and names <= set(runs) else {}

    return dict(toy.wait(tasks, 300, f"the tasks {sorted(names)} end"))


def check_assets(toy: Scheduled, flow_run: str) -> None:
    """Data, models and the champion, each with its hash and with what it was made from."""
    events = toy.wait(lambda: materialized(toy, flow_run), 900, "assets of the flow")
    place = f"dvc://{toy.root.name}"
    assert {f"{place}/{name}" for name in ("data/voc", "models/baseline", "models/sparse", "models/champion")} <= set(
        events
    )
    winner = toy.json("metrics/sweep.json")["winner"]
    assert of(events[f"{place}/models/champion"]) == {f"{place}/models/finetune/{winner}"}
    assert of(events[f"{place}/models/finetune/{winner}"]) == {f"{place}/data/voc", f"{place}/models/sparse"}
    assert events[f"{place}/data/voc"]["payload"]["md5"].endswith(".dir")


def materialized(toy: Scheduled, flow_run: str) -> dict[str, dict[str, Any]]:
    """Assets that the server has heard of from a run of a flow, once the last of them is there."""
    wanted = {"filter": {"event": {"prefix": ["prefect.asset.materialization"]}}}
    heard = toy.ask("/events/filter", wanted)["events"]
    found = {
        event["resource"]["prefect.resource.id"]: event
        for event in heard
        if any(r["prefect.resource.id"] == f"prefect.flow-run.{flow_run}" for r in event["related"])
    }
    return found if any(name.endswith("champion") for name in found) else {}


def of(event: dict[str, Any]) -> set[str]:
    """What an asset was made from."""
    return {r["prefect.resource.id"] for r in event["related"] if r["prefect.resource.role"] == "asset"}
