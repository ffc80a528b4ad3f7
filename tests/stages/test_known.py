"""What the network found is kept under all that it depends on, and under nothing else."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from yoloslim.config import parse_params
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.remembered import evaluate_remembered
from yoloslim.stages.known import evaluating
from yoloslim.stages.listing import LISTING

MODEL = Path("models/finetune/50/model.safetensors")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for file in (MODEL, LISTING):
        file.parent.mkdir(parents=True)
        file.write_text(file.name)
    return tmp_path


def kept(*settings: str, package: str = "torch", **sections: Any) -> Path:
    way = evaluating(parse_params(sections), package, [MODEL], *settings)
    assert isinstance(way, partial)
    assert way.func is evaluate_remembered
    assert way.keywords["about"] == "models/finetune/50"
    return Path(way.keywords["file"])


def test_thresholds_of_overlap_change_nothing(project: Path) -> None:
    first = kept()
    assert first.parent == Path(".cache/candidates")
    assert kept(evaluation={"iou_thres": 0.3, "max_det": 10, "threads": 1}) == first
    assert kept(train={"threads": 1}) == first


def test_all_else_does(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        kept(),
        kept("nv12"),
        kept(package="onnxruntime"),
        kept(imgsz=320),
        kept(evaluation={"conf_thres": 0.01}),
        kept(evaluation={"multi_label": False}),
        kept(evaluation={"batch": 8}),
        kept(evaluation={"rect": True}),
        kept(train={"device": "cpu"}),
    ]
    for file in (MODEL, LISTING):
        file.write_text("another")
        found.append(kept())
    for place, value in (
        ("version", lambda package: "0"),
        ("platform.node", lambda: "another"),
        ("Library.fingerprint", lambda self, path: "edited"),
    ):
        monkeypatch.setattr(f"yoloslim.stages.known.{place}", value)
        found.append(kept())
    assert len(set(found)) == len(found)


def test_force_and_data_without_a_listing_need_the_network(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as forced:
        forced.setattr("yoloslim.stages.known.is_forced", lambda: True)
        assert evaluating(parse_params({}), "torch", [MODEL]) is evaluate
    LISTING.unlink()
    assert evaluating(parse_params({}), "torch", [MODEL]) is evaluate
