from pathlib import Path

import pytest

from yoloslim.data.voc import load_split
from yoloslim.results.judged import judge_rows
from yoloslim.results.records import read_rows


def test_stored_boxes_are_judged_again_to_the_same_metrics(root: Path) -> None:
    """The cat is found at 0.9, the dog at 0.4 with too small an overlap."""
    judged = judge_rows(read_rows(root), load_split(root / "data/voc", "test"))
    assert [item.row.name for item in judged] == ["baseline", "prune@30", "prune@50"]
    assert judged[0].evaluation.metrics["map50"] == pytest.approx(0.5, abs=0.01)
