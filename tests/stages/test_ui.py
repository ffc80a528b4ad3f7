"""`make ui` where it cannot start a page, or need not; tests/test_page_commands.py types it where it can."""

import socket
from pathlib import Path

import pytest

from yoloslim.config import parse_params
from yoloslim.errors import TrackingError
from yoloslim.stages import ui


def test_a_port_that_is_taken_is_said_with_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(ui, "LOCAL_UI", f"http://127.0.0.1:{port}")
        said = (
            f"port {port} is taken, .* `mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db --port {port + 1}`"
        )
        with pytest.raises(TrackingError, match=said):
            ui.run(parse_params({}))


def test_the_page_of_a_server_is_there_already(capsys: pytest.CaptureFixture[str]) -> None:
    ui.run(parse_params({"tracking": {"uri": "https://me:secret@host/mlflow"}}))
    assert capsys.readouterr().out == "MLflow's page is that of tracking.uri: https://host/mlflow\n"
