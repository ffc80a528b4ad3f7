"""What the scheduled sweep does before it asks what changed."""

import logging
from pathlib import Path

import pytest

from yoloslim.config import parse_params
from yoloslim.orchestration import nightly
from yoloslim.orchestration.mending import HALF


def test_what_a_kill_left_of_dvcs_record_is_put_aside_before_dvc_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was killed while DVC wrote must not fail every night from then on."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages:\n  a:\n    outs:\n    - path:")
    seen = list[bool]()
    monkeypatch.setattr(nightly, "load_params", lambda: parse_params({}))
    monkeypatch.setattr(nightly, "get_run_logger", lambda: logging.getLogger("test"))
    monkeypatch.setattr(nightly, "sync_or_say", lambda params: None)
    monkeypatch.setattr(nightly, "what_changed", lambda params: seen.append(Path("dvc.lock").exists()) or "")
    assert nightly.nightly.fn().name == "Unchanged"
    assert seen == [False]
    assert (tmp_path / HALF).read_text().endswith("path:")
