"""`track` where nothing is new."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.results.made import build
from tests.tracking.test_calls import server
from yoloslim.config import parse_params
from yoloslim.stages.track import run

ROOT = Path(__file__).parents[2]


def test_it_starts_without_what_only_pictures_need() -> None:
    program = (
        "import sys; sys.modules |= dict.fromkeys(['torch', 'cv2', 'mlflow', 'matplotlib']); import pipeline.track"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_where_mlflow_lacks_results_the_table_is_shown_and_the_status_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(build(tmp_path / "project"))
    params = {"percents": [30, 50], "controls": [], "finetune": {"teacher": "models/baseline"}}
    with pytest.raises(SystemExit) as ending:
        run(parse_params(params | {"tracking": {"uri": "http://127.0.0.1:9"}}))
    assert ending.value.code == os.EX_TEMPFAIL
    shown = capsys.readouterr()
    assert "50 % pruned" in shown.out
    assert shown.err.endswith("MLflow lacks some of these results, as said above\n")
    run(parse_params(params | {"tracking": {"enabled": False}}))


def track(folder: Path, uri: str) -> subprocess.CompletedProcess[str]:
    """`python -m pipeline.track` in a folder that logs to an address."""
    params = {"percents": [30, 50], "controls": [], "finetune": {"teacher": "models/baseline"}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params | {"tracking": {"uri": uri}}))
    command = [sys.executable, "-m", "pipeline.track"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_server_that_asks_who_it_is_is_said_and_what_to_set(tmp_path: Path) -> None:
    with server(lambda path: (401, b"You are not authenticated")) as address:
        done = track(build(tmp_path / "project"), address)
    assert done.returncode == os.EX_TEMPFAIL
    assert "wants to know who asks (401); set MLFLOW_TRACKING_USERNAME" in done.stdout
    assert "50 % pruned" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_experiment_that_was_deleted_comes_back_by_the_command_in_the_message(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    folder = build(tmp_path / "project")
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    client.delete_experiment(client.create_experiment("yoloslim"))
    done = track(folder, "sqlite:///mlflow.db")
    assert done.returncode == os.EX_TEMPFAIL
    said = re.search(r"was deleted; restore it there \(`(.+?)`\)", done.stdout)
    assert said, done.stdout
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", said[1]], cwd=folder, env=environment, check=True)
    assert client.get_experiment_by_name("yoloslim").lifecycle_stage == "active"
