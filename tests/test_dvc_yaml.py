"""dvc.yaml against the code and the schema: what a stage depends on, no less and no more."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from yoloslim.config import Params
from yoloslim.config.machine import MACHINE

ROOT = Path(__file__).parents[1]
STAGES: dict[str, dict[str, Any]] = {
    name: stage.get("do", stage) for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()
}
KEYS = {
    f"{section}.{key}" if isinstance(value, dict) else section: value
    for section, value in Params().model_dump().items()
    for key in (value if isinstance(value, dict) else [""])
}
ELSEWHERE = ("sweep.", "schedule.", "tracking.", "percents", "probes", "quantize.models", "rknn.models")
"""Read by the sweep, schedules and MLflow, or naming the stages themselves."""


def params_of(stage: str) -> set[str]:
    """Keys that a stage depends on, sections written out."""
    words = [w for p in STAGES[stage].get("params", ()) for w in ([p] if isinstance(p, str) else p["params.yaml"])]
    return {key for key in KEYS for word in words if key == word or key.startswith(f"{word}.")}


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "code"])
def test_a_stage_depends_on_the_code_of_its_script(stage: str) -> None:
    script = re.match(r"python -m pipeline\.(\w+)", STAGES[stage]["cmd"])
    assert script is not None
    assert [dep for dep in STAGES[stage]["deps"] if dep.startswith("code")] == [f"code/{script[1]}.txt"]
    assert (ROOT / "pipeline" / f"{script[1]}.py").is_file()


def test_what_reads_images_depends_on_the_listing_of_the_data_and_that_alone_on_the_data() -> None:
    readers = {
        dep: {name for name in STAGES if dep in STAGES[name].get("deps", ())} for dep in ("data/voc", "data/voc.txt")
    }
    without = {"code", "data", "listing", "champion", "timing", "unstructured"}
    without |= {name for name in STAGES if name.startswith(("atc", "export"))}
    assert readers["data/voc.txt"] == set(STAGES) - without
    assert readers["data/voc"] == {"listing"}
    assert "data/voc.txt" in STAGES["listing"]["outs"]


def test_no_stage_depends_on_source_files() -> None:
    assert [d for stage in STAGES.values() for d in stage.get("deps", ()) if d.startswith(("src", "pipeline"))] == []


def test_every_key_reruns_some_stage_unless_it_is_the_machines() -> None:
    used = set().union(*map(params_of, STAGES))
    expected = {key for key in KEYS if not key.startswith(ELSEWHERE)} - set(MACHINE)
    assert used - {"percents", "tracking.uri", "tracking.experiment"} == expected, (
        "a new key belongs to the params of the stages in dvc.yaml whose result it changes, or to config/machine.py"
    )
    assert set(MACHINE) <= set(KEYS)


def test_trainings_depend_on_all_of_section_train_that_changes_models() -> None:
    expected = {key for key in KEYS if key.startswith("train.")} - set(MACHINE)
    for stage in ("baseline", "sparse", "finetune"):
        assert {key for key in params_of(stage) if key.startswith("train.")} == expected


@pytest.mark.parametrize(
    "stage", ["data", "baseline", "sparse", "finetune", "export", "quantize", "rknn", "atc", "unstructured"]
)
def test_how_models_are_measured_makes_no_model_again(stage: str) -> None:
    assert not {key for key in params_of(stage) if key.startswith("evaluation.")}


def told() -> dict[str, set[str]]:
    """The table of docs/stages.md: key -> stages; what names a key counts more than `section.*`."""
    measuring, table = {name for name in STAGES if name.startswith("measure")}, dict[str, set[str]]()
    lines = [line.split("|") for line in (ROOT / "docs/stages.md").read_text().splitlines() if line.startswith("| `")]
    for _, names, reruns, *_ in sorted(lines, key=lambda cells: "*" not in cells[1]):
        words = {word.strip() for word in reruns.split(",")} - {"–"}
        stages = words - {"measure*"} | (measuring if "measure*" in words else set())
        for name in re.findall("`([^`]+)`", names):
            table |= {key: stages for key in KEYS if key == name or name == f"{key.partition('.')[0]}.*"}
    return table


@pytest.mark.parametrize("key", KEYS)
def test_docs_tell_what_a_key_reruns(key: str) -> None:
    assert {
        name if name.startswith("measure") else re.sub("_(baseline|control)$", "", name)
        for name in STAGES
        if key in params_of(name)
    } == told()[key]
