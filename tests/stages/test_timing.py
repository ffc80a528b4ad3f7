"""Stage `timing`: all exported models, once each, by the names that other stages call them."""

from pathlib import Path

import pytest

from tests.tiny import tiny_detector
from yoloslim.config import parse_params
from yoloslim.deploy.export_model import export_model
from yoloslim.errors import YoloslimError
from yoloslim.files import read_json
from yoloslim.stages import timing

PARAMS = parse_params({"percents": [40], "ascend_eval": {"warmup": 1, "repeats": 3}, "evaluation": {"threads": 512}})


def test_every_exported_model_is_timed_in_one_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("yoloslim.cores.usable_cores", lambda: 1)
    for name in ("baseline", "control/dense"):
        export_model(tiny_detector(), Path("models/export") / name)
    with pytest.raises(YoloslimError, match="models/export/40"):
        timing.run(PARAMS)
    export_model(tiny_detector(), Path("models/export/40"))
    timing.run(PARAMS)
    found = read_json(Path("metrics/timing.json"))
    assert found["backend"] == "onnxruntime-cpu"
    assert list(found["models"]) == ["baseline", "control/dense", "40"]
    for values in found["models"].values():
        assert values["latency_session"] == 3
        assert values["latency_threads"] == 1  # of the core that there is: 512 would stall it
        assert values["fps"] == pytest.approx(1000 / values["latency_ms"], rel=1e-3)
    assert found["models"]["baseline"]["speedup"] == 1
