import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DVC_YAML = """
stages:
  first:
    cmd: echo computed > out.txt
    outs:
      - out.txt
"""


RUN = "from yoloslim.orchestration.pipeline import main; main()"


def project(tmp_path: Path, dvc_yaml: str = DVC_YAML) -> None:
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    (tmp_path / "dvc.yaml").write_text(dvc_yaml)
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").touch()
    (tmp_path / "pipeline" / "track.py").write_text("open('tracked.txt', 'w').write(open('out.txt').read())")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True)


def run(tmp_path: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: Prefect's server for tests may never end in one that has run other flows."""
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect")} | settings
    return subprocess.run(
        [sys.executable, "-c", RUN], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1800
    )


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"PREFECT_API_URL": "http://127.0.0.1:9/api"}])
def test_flow_reproduces_stages_and_then_tracks_with_and_without_a_server(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    project(tmp_path)
    done = run(tmp_path, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    away = "Prefect is away (http://127.0.0.1:9/api: "
    assert (away in done.stdout + done.stderr) == bool(settings)
    assert "httpx" not in done.stdout + done.stderr
    assert "HTTP Request" not in done.stdout + done.stderr
    assert (tmp_path / "out.txt").read_text() == "computed\n"
    assert (tmp_path / "tracked.txt").read_text() == "computed\n"
    assert "first" in (tmp_path / "dvc.lock").read_text()


@pytest.mark.slow
def test_a_stage_that_fails_fails_the_flow(tmp_path: Path) -> None:
    project(tmp_path, DVC_YAML.replace("echo computed > out.txt", "exit 3"))
    done = run(tmp_path)
    assert done.returncode == 1
    assert re.search("error: `.*dvc repro", done.stderr), done.stderr + done.stdout
    assert "Error logging to API" not in done.stderr  # which was sent while there was a server
    assert not (tmp_path / "tracked.txt").exists()
