"""Stage `champion` on a folder as the other stages leave it."""

from pathlib import Path

import pytest

from tests.results.made import PARAMS, build
from tests.results.sweeps import leave, point, sweep
from yoloslim.files import read_json
from yoloslim.results.results import Results, read_results
from yoloslim.stages.champion import SHOWN, write_champion, write_summary


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path / "project")


def results(root: Path, percents: list[int] | None = None) -> Results:
    return read_results(root, PARAMS if percents is None else PARAMS | {"percents": percents})


def test_the_summary_has_the_few_numbers_of_every_model_that_could_be_shipped(root: Path, tmp_path: Path) -> None:
    write_summary(results(root).rows, tmp_path / "summary")
    assert {path.stem for path in (tmp_path / "summary").iterdir()} == {"baseline", "30", "50"}
    found = read_json(tmp_path / "summary/50.json")
    assert found == {"map50": 0.778, "map50_95": 0.4668, "params_m": 1.0, "latency_ms": 4.0, "speedup": 2.0}
    assert set(found) == set(SHOWN)
    write_summary(results(root, [30]).rows, tmp_path / "summary")
    assert not (tmp_path / "summary/50.json").exists()


def test_the_champion_is_the_sweeps_choice_with_graph_manifest_and_weights(root: Path, tmp_path: Path) -> None:
    leave(root, sweep(point(30), point(50), winner="30"))
    write_champion(results(root), tmp_path / "champion")
    assert read_json(tmp_path / "champion/champion.json")["model"] == "prune@30"
    for name, source in (
        ("model.onnx", "export/30"),
        ("manifest.json", "export/30"),
        ("model.safetensors", "finetune/30"),
    ):
        assert (tmp_path / "champion" / name).read_bytes() == (root / "models" / source / name).read_bytes()


def test_without_a_sweep_it_is_the_recommended_model_and_without_pruning_the_dense_one(
    root: Path, tmp_path: Path
) -> None:
    write_champion(results(root), tmp_path / "champion")
    found = read_json(tmp_path / "champion/champion.json")
    assert (found["model"], found["percent"]) == ("prune@50", 50)
    assert found["why"].startswith("50 % pruned and finetuned: mAP50 0.778 (baseline 0.799)")
    write_champion(results(root, []), tmp_path / "champion")
    assert read_json(tmp_path / "champion/champion.json")["model"] == "baseline"
    graph = (root / "models/export/baseline/model.onnx").read_bytes()
    assert (tmp_path / "champion/model.onnx").read_bytes() == graph


def test_a_winner_whose_files_lie_elsewhere_is_not_replaced_by_another_model(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = point(50).model_copy(update={"name": "scope-slim/50", "overrides": {"prune.scope": "slim"}})
    leave(root, sweep(point(30), other, winner="scope-slim/50"))
    write_champion(results(root), tmp_path / "champion")
    assert [path.name for path in (tmp_path / "champion").iterdir()] == ["champion.json"]
    assert "yoloslim sweep --apply scope-slim" in read_json(tmp_path / "champion/champion.json")["why"]
    assert "models/champion holds no model" in caplog.text
