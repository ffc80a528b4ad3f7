"""What stages write of what they measured."""

from pathlib import Path

import pytest

from yoloslim.files import read_json
from yoloslim.stages.measuring import write_metrics


def test_numbers_have_six_digits_however_deep_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    third = 1 / 3
    write_metrics("x", {"a": third, "trials": {"b": {"c": third}}, "list": [third, 12345678], "name": "n", "no": None})
    assert read_json(Path("metrics/x.json")) == {
        "a": 0.333333,
        "trials": {"b": {"c": 0.333333}},
        "list": [0.333333, 12345678],
        "name": "n",
        "no": None,
    }
