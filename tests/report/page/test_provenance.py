"""Hashes and commands."""

from pathlib import Path

from yoloslim.report.page.provenance import commands, outputs_of
from yoloslim.results.lineage import StageOutput, outputs
from yoloslim.results.records import Row

BEST = Row("prune@50", "pruned", percent=50)


def test_hashes_of_a_model_are_those_of_its_own_stages(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text(
        """
        stages:
          data: {outs: [{path: data/voc, md5: a}, {path: metrics/data.json, md5: b}]}
          finetune@50: {outs: [{path: models/finetune/50, md5: c}]}
          finetune@5: {outs: [{path: models/finetune/5, md5: d}]}
          export_baseline: {outs: [{path: models/export/baseline, md5: e}]}
          empty: {cmd: "true"}
        """
    )
    found = outputs(lock)
    assert outputs_of(BEST, found) == [
        StageOutput("data", "data/voc", "a"),
        StageOutput("finetune@50", "models/finetune/50", "c"),
    ]
    assert [out.md5 for out in outputs_of(Row("baseline", "baseline"), found)] == ["a", "e"]


def test_commands_name_the_stages_and_the_model() -> None:
    lines = [command for _, command in commands(Row("prune@50", "pruned", 50, onnx=Path("x/model.onnx")))]
    assert "dvc repro prune@50 finetune@50 export@50 atc@50 ascend_eval@50" in lines
    assert "yoloslim detect models/export/50/model.onnx photo.jpg" in lines
    assert [command for _, command in commands(None)] == ["make setup", "source .venv/bin/activate", "make repro"]
