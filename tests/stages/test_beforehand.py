"""What is said of params.yaml before anything runs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from yoloslim.config import parse_params
from yoloslim.models.zoo import build_spec
from yoloslim.stages.beforehand import alike, named_in_vain


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"finetune": {"teacher": "large.pt", "distill_output": 0.5}}, "finetune.teacher: large.pt is missing; name"),
        ({"prune": {"selection": "latency", "latency_table": "t.json"}}, "prune.latency_table: t.json is missing;"),
        ({"finetune": {"teacher": "./models/baseline", "distill_output": 0.5}}, ""),  # which a stage makes
        ({"finetune": {"teacher": "pulled.pt", "distill_output": 0.5}}, ""),
        ({}, ""),
    ],
)
def test_a_file_that_only_a_late_stage_reads_is_missed_before_anything_is_trained(
    changes: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pulled.pt.dvc").touch()
    found = named_in_vain(parse_params(changes))
    assert found.startswith(said)
    assert bool(found) == bool(said)
    if said:
        Path(said.split()[1]).touch()
        assert not named_in_vain(parse_params(changes))


@pytest.mark.parametrize(
    ("model", "classes", "changes", "said"),
    [
        ("yolov5s", ("cat", "dog"), {}, ""),
        ("yolov8n", ("cat", "dog"), {}, "has head kind 'anchor_free', the student 'anchor'"),
        ("yolov5s", ("cat", "cow"), {}, "has classes ('cat', 'cow'), the student ('cat', 'dog')"),
        ("yolov5s", ("cat", "cow"), {"data": {"seed": 5}}, ""),  # data/voc is of other parameters, and made anew
        ("yolov8n", ("cat", "dog"), {"model": "yolov8s"}, ""),
        ("yolov8n", ("cat", "dog"), {"baseline": {"weights": "w.pt"}}, ""),  # whose head nobody knows yet
    ],
)
def test_a_teacher_of_another_form_is_refused_before_anything_is_trained(
    model: str, classes: tuple[str, ...], changes: dict[str, Any], said: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    described_only(Path("large.safetensors"), model, classes)
    Path("data/voc").mkdir(parents=True)
    Path("data/voc/classes.txt").write_text("cat\ndog\n")
    Path("dvc.lock").write_text("stages: {data: {params: {params.yaml: {data.source: scenes, data.seed: 0}}}}\n")
    found = named_in_vain(parse_params({"finetune": {"teacher": "large.safetensors"}} | changes))
    assert bool(found) == bool(said)
    assert said in found
    assert found.startswith("finetune.teacher large.safetensors: the teacher" * bool(said))


def test_a_teacher_is_looked_at_without_pytorch_and_one_that_is_no_model_is_named(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom yoloslim.config import parse_params\nfrom yoloslim.stages.beforehand import named_in_vain\n"
    )
    code += "try:\n  print(named_in_vain(parse_params({'finetune': {'teacher': 'a.safetensors'}}))[-53:])\n"
    code += "except Exception as error:\n  print(error)\nprint({'torch', 'numpy', 'cv2'} & set(sys.modules))\n"

    def printed() -> list[str]:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.splitlines()

    described_only(tmp_path / "a.safetensors", "yolov8n", ("cat",))
    assert printed() == ["none: finetune.distill_output=0 and distill_feature=0", "set()"]
    (tmp_path / "a.safetensors").write_text("<html>")
    assert printed() == ["a.safetensors is not a readable model file; was its copying cut short?", "set()"]


def described_only(path: Path, model: str, classes: tuple[str, ...]) -> None:
    """A model file without a weight: what it holds is told by its first bytes."""
    metadata = {"format": "yoloslim-1", "spec": build_spec(model, classes, 64).model_dump_json()}
    header = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def test_percents_that_a_target_makes_alike_are_told() -> None:
    target = {"target_speedup": 1.5}
    said = alike(parse_params({"percents": [30, 50], "prune": target}))
    assert said.startswith(
        "prune.target_speedup says what goes, so all 2 of percents [30, 50] are cut to the same size"
    )
    assert not alike(parse_params({"percents": [30], "prune": target}))
    assert not alike(parse_params({"percents": [30, 50]}))
