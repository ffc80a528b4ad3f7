from pathlib import Path

import pytest

from tests.orchestration.fake_dvc import ROOT
from yoloslim.config import load_params
from yoloslim.errors import ConfigError
from yoloslim.orchestration.points import Job, blocking, list_percents, reason
from yoloslim.sweeping.space import Variant


def test_job_names_its_stages() -> None:
    assert Job("probe", 40).targets == ("probe@40",)
    assert Job("finetune", 40).targets == ("prune@40", "finetune@40", "export@40", "atc@40")
    assert Job("measure", 40).targets[-1] == "ascend_eval@40"
    assert Job("probe", 40, Variant((("prune.scope", "free"),))).name == "probe scope=free/40 %"


def test_reason_is_the_stages_own_error() -> None:
    output = ["Running stage 'finetune@45':", "epoch 3", "error: loss is not finite", "ERROR: failed to reproduce 'x'"]
    assert reason(output) == "error: loss is not finite"
    assert reason(["ERROR: failed to reproduce 'x': exited with -9"]).endswith("exited with -9")
    assert reason(["  File x", "ValueError: no boxes"]) == "ValueError: no boxes"
    assert reason([]) == "no output"


def test_processes_that_dvc_cannot_go_on_beside_are_found() -> None:
    told = ["ERROR: failed to reproduce 'data': 'x' is busy, it is being blocked by:", "  (PID 4321): dvc repro", ""]
    assert blocking(told) == [4321]
    assert blocking(["  (PID 4321): dvc repro"]) == []


def test_percents_are_added_once_and_every_other_line_stays(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    list_percents(tmp_path, "percents", [45, 50])
    list_percents(tmp_path, "probes", [12])
    list_percents(tmp_path, "probes", [10, 12])
    params = load_params(path)
    assert (params.percents, params.probes) == ((30, 45, 50, 70), (10, 12))
    before, after = (ROOT / "params.yaml").read_text().splitlines(), path.read_text().splitlines()
    assert [line for line in after if line not in before] == [
        "  - 45",
        "probes: [10, 12]            # percents that are only cut and measured, not finetuned; the sweep fills it",
    ]
    assert [line for line in before if line not in after] == [line for line in before if line.startswith("probes:")]


def test_list_that_cannot_be_changed_says_how_to_write_it(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("percents: [\n  30,\n]\n")
    with pytest.raises(ConfigError, match=r"write `percents: \[\]`|write it as"):
        list_percents(tmp_path, "percents", [45])
