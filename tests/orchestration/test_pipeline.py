import os
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


@pytest.mark.slow
def test_flow_reproduces_stages_and_then_tracks(tmp_path: Path) -> None:
    """In a process of its own: Prefect's server for tests may never end in one that has run other flows."""
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").touch()
    (tmp_path / "pipeline" / "track.py").write_text("open('tracked.txt', 'w').write(open('out.txt').read())")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    settings = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    command = [sys.executable, "-c", "from yoloslim.orchestration.pipeline import pipeline; pipeline()"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out.txt").read_text() == "computed\n"
    assert (tmp_path / "tracked.txt").read_text() == "computed\n"
    assert "first" in (tmp_path / "dvc.lock").read_text()
