from pathlib import Path

import pytest

from tests.deploy.models import tiny_detector
from yoloslim.config import parse_params
from yoloslim.deploy.ascend.atc import compile_model, load_result
from yoloslim.deploy.export_model import export_model
from yoloslim.stages import atc


def test_a_model_that_was_compiled_elsewhere_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)
    export = Path("models/export/50")
    export_model(tiny_detector(), export)
    compile_model(export, Path("back/50"))
    Path("back/50/model.om").write_bytes(b"compiled")
    atc.run(parse_params({"ascend": {"compiled": "back", "require": True}}), "50")
    assert load_result(Path("models/atc/50")).state == "compiled"
    assert Path("models/atc/50/model.om").read_bytes() == b"compiled"
    atc.run(parse_params({}), "50")
    assert load_result(Path("models/atc/50")).state == "not_available"


def test_a_missing_compiler_is_explained_once_in_a_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)
    caplog.set_level("INFO")
    for which in ("baseline", "30", "50"):
        export_model(tiny_detector(), Path("models/export") / which)
        atc.run(parse_params({}), which)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text.split(",")[0] for text in warned] == ["atc is not on the PATH"]
    assert "models/atc/50: nothing compiled, atc is not on the PATH" in caplog.messages
