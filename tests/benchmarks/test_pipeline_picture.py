"""The picture of the pipeline is the one that dvc.yaml gives."""

import pytest
from benchmarks.pipeline_picture import TARGET, meets, picture, waits

from benchmarks import pipeline_picture


def test_the_picture_in_the_docs_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == picture(), "python -m benchmarks.pipeline_picture draws it anew"


def test_arrows_are_what_dvc_yaml_says_without_what_longer_ways_imply() -> None:
    found = waits()
    assert {
        ("data", "listing"),
        ("sparse", "ranking"),
        ("ranking", "prune"),
        ("control", "finetune"),
        ("atc", "ascend_eval"),
    } <= found
    assert {b for a, b in found if a == "export"} == {"timing", "quantize", "rknn", "atc"}
    assert ("baseline", "export") not in found  # by way of finetune
    assert ("data", "report") not in found


@pytest.mark.parametrize(
    ("out", "dep", "expected"),
    [
        ("models/finetune/${item}", "models/finetune", True),
        ("metrics/data.json", "metrics", True),
        ("models/export/${item}", "models/export/baseline", True),
        ("data/voc", "data/voc.txt", False),
        ("models/prune/${item}", "models/finetune/${item}", False),
    ],
)
def test_a_file_meets_what_it_is_or_lies_in(out: str, dep: str, expected: bool) -> None:
    assert meets(out, dep) is expected


def test_a_stage_without_a_place_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_picture, "declared", lambda: {"polish": {"cmd": "true"}})
    with pytest.raises(KeyError, match="polish"):
        picture()
