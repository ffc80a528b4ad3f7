"""Mean and standard deviation over the same training with several seeds."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.tiny import tiny_detector
from yoloslim.config import Params
from yoloslim.models.store import save_model
from yoloslim.stages import spread


def test_mean_and_spread_are_of_all_seeds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = iter([0.7, 0.9])
    monkeypatch.setattr(
        spread, "evaluate_model", lambda *_: SimpleNamespace(metrics={"map50": next(values), "map50_95": 0.5})
    )
    first, images = {"map50": 0.8, "map50_95": 0.5}, SimpleNamespace()
    assert spread.measure_repeats(Params(), tmp_path, first, images) == {}  # type: ignore[arg-type]
    for seed in (10, 9):
        save_model(tiny_detector(), tmp_path / "repeats" / f"{seed}.safetensors")
    found = spread.measure_repeats(Params(), tmp_path, first, images)  # type: ignore[arg-type]
    assert (found["repeats"], found["map50_values"]) == (3, [0.8, 0.7, 0.9])
    assert (found["map50_mean"], found["map50_std"]) == pytest.approx((0.8, 0.1))
    assert found["map50_95_std"] == 0
