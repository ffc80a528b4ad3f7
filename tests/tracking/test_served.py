"""What people see of a finished sweep: MLflow's own compare view in a browser, and the champion, loaded and served."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from benchmarks.serving import SERVE, ask, served

from tests.page_commands import BY_OTHERS, SERVED
from tests.report.page.test_browser import CHROMIUM
from tests.results.made import PARAMS, build
from tests.results.sweeps import leave, point, sweep
from tests.tiny import shake_norms, tiny_detector
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.results.results import read_results
from yoloslim.results.uris import absolute_uri
from yoloslim.sweeping.champion import is_better
from yoloslim.tracking.mlflow import sync

from .postgres import Server

pytestmark = pytest.mark.slow
URI = "sqlite:///mlflow.db"
LOAD = """
import mlflow, pandas, sys
detector = mlflow.pyfunc.load_model("models:/yoloslim@champion")
boxes = detector.predict(pandas.DataFrame({"image": [open(sys.argv[1], "rb").read()]}), params={"conf": 0.0001})
print(boxes.to_json(orient="records"))
print(type(mlflow.onnx.load_model("models:/yoloslim@champion")).__name__)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep has ended, and 50 %, its winner, is a graph that runs."""
    folder = build(tmp_path_factory.mktemp("served") / "project")
    model = tiny_detector(("cat", "dog"))
    shake_norms(model)
    for file in (folder / "models/export/50").iterdir():
        file.unlink()
    export_model(model, folder / "models/export/50", ExportOptions())
    leave(folder, sweep(point(30), point(50)))
    done = sync(read_results(folder, PARAMS), URI, "yoloslim", better=is_better)
    assert done.champion == "yoloslim version 1 is the champion now: there was none"
    return folder


@pytest.fixture
def environment(project: Path) -> dict[str, str]:
    return os.environ | {"MLFLOW_TRACKING_URI": absolute_uri(URI, project), "MLFLOW_DISABLE_TELEMETRY": "true"}


def test_the_champion_loads_in_a_fresh_process_and_answers_when_it_is_served(
    project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    served_by, request = BY_OTHERS[SERVED]
    assert served_by == SERVE
    picture = project / "data/voc/JPEGImages/a.jpg"
    command = [sys.executable, "-c", LOAD, str(picture)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    boxes, graph = done.stdout.splitlines()
    assert graph == "ModelProto"
    found = json.loads(boxes)
    assert found
    assert set(found[0]) == {"image", "class", "score", "x1", "y1", "x2", "y2"}
    assert {box["class"] for box in found} <= {"cat", "dog"}
    del environment["MLFLOW_TRACKING_URI"]  # in the project's folder MLflow finds the database by itself
    with served(project, environment | {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"}):
        predictions = ask([picture.read_bytes()] * 2, 0.0001)
        shutil.copy(picture, tmp_path / "photo.jpg")
        done = subprocess.run(["bash", "-c", request], cwd=tmp_path, capture_output=True, check=True)
    assert set(json.loads(done.stdout)) == {"predictions"}
    assert [box for box in predictions if box["image"] == 0] == found
    assert [box | {"image": 0} for box in predictions if box["image"] == 1] == found


@pytest.fixture
def server(project: Path) -> Iterator[Server]:
    server = Server(absolute_uri(URI, project), project)
    server.start()
    yield server
    server.kill()


def test_the_compare_view_shows_map50_against_percent(project: Path, server: Server) -> None:
    if not CHROMIUM:
        pytest.skip("no Chromium here: `make debian-packages`, or apt-get install chromium")
    from mlflow import MlflowClient
    from playwright.sync_api import sync_playwright

    client = MlflowClient(tracking_uri=server.uri)
    (experiment,) = (e for e in client.search_experiments() if e.name == "yoloslim")
    rows = client.search_runs([experiment.experiment_id], "tags.`yoloslim.current` = 'true'")
    ids = [run.info.run_id for run in rows if run.data.tags["yoloslim.slot"] != "sweep"]
    assert len(ids) == 4
    chosen, number = quote(json.dumps(ids)), quote(json.dumps([experiment.experiment_id]))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=300_000)
        page = browser.new_page(viewport={"width": 1280, "height": 1300})
        page.set_default_timeout(300_000)
        page.goto(f"{server.uri}/#/compare-runs?runs={chosen}&experiments={number}")
        shown(page, ".axis-title")
        assert page.locator(".axis-title").all_text_contents() == ["percent", "map50"]
        page.get_by_role("tab", name="Scatter Plot").click()
        shown(page, ".g-xtitle")
        assert page.locator(".g-xtitle, .g-ytitle").all_text_contents() == ["percent", "map50"]
        browser.close()


def shown(page: Any, what: str) -> None:
    """Wait until a page shows it: minutes on a busy machine. A page whose scripts came broken is asked for again."""
    from playwright.sync_api import TimeoutError as NotShown

    for last in (False, False, True):
        try:
            page.wait_for_selector(what, timeout=200_000)
            return
        except NotShown:
            if last:
                raise
            page.reload()
