"""`track` where nothing is new."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.results.made import build
from yoloslim.config import parse_params
from yoloslim.stages.track import run


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
