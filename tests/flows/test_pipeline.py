import subprocess
import sys
from pathlib import Path

import pytest

from flows import pipeline as flows

DVC_YAML = """
stages:
  first:
    cmd: echo computed > out.txt
    outs:
      - out.txt
"""


@pytest.mark.slow
def test_flow_reproduces_stages_and_then_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.testing.utilities import prefect_test_harness

    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").touch()
    (tmp_path / "pipeline" / "track.py").write_text("open('tracked.txt', 'w').write(open('out.txt').read())")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    monkeypatch.setattr(flows, "ROOT", tmp_path)
    with prefect_test_harness(server_startup_timeout=120):
        flows.pipeline()
    assert (tmp_path / "out.txt").read_text() == "computed\n"
    assert (tmp_path / "tracked.txt").read_text() == "computed\n"
    assert "first" in (tmp_path / "dvc.lock").read_text()
