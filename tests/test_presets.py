"""Presets against the published numbers, and what is left of params.yaml around them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from yoloslim.cli import app
from yoloslim.config import Params, load_params
from yoloslim.config.presets import apply_preset, load_preset, load_presets
from yoloslim.errors import ConfigError

SHIPPED = Path(__file__).parents[1] / "params.yaml"
PUBLISHED = {  # initial and last rate, momentum, warm-up epochs; gains of box, objectness and class
    "scratch-low": ((0.01, 0.01, 0.937, 3), (0.05, 1, 0.5)),
    "scratch-med": ((0.01, 0.1, 0.937, 3), (0.05, 0.7, 0.3)),
    "scratch-high": ((0.01, 0.1, 0.937, 3), (0.05, 0.7, 0.3)),
    "finetune": ((0.0032, 0.12, 0.843, 2), (0.0296, 0.301, 0.243)),
    "voc": ((0.00334, 0.15135, 0.74832, 3.3835), (0.02, 0.51728, 0.21638)),
    "yolov8-scratch": ((0.01, 0.01, 0.937, 3), (7.5, 4.0, 0.5)),  # it has no objectness: params.yaml's stays
    "yolo26n-coco": ((0.0054, 0.0495, 0.947, 3), (5.63, 4.0, 0.56)),
    "yolo26s-coco": ((0.00038, 0.882, 0.948, 3), (9.83, 4.0, 0.65)),
    "yolo26m-coco": ((0.00038, 0.882, 0.948, 3), (9.83, 4.0, 0.65)),
}

BOARDS = {
    "ascend-310": "Ascend310",
    "ascend-310p1": "Ascend310P1",
    "ascend-310p3": "Ascend310P3",
    "ascend-310b1": "Ascend310B1",
    "ascend-310b4": "Ascend310B4",
    "atlas-200i-dk-a2": "Ascend310B4",
}


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED.read_text())
    return path


@pytest.mark.parametrize("name", PUBLISHED)
def test_preset_has_the_published_numbers(params: Path, name: str) -> None:
    apply_preset(params, load_preset(name))
    b, t = load_params(params).baseline, load_params(params).train
    assert ((b.lr0, b.lrf, b.momentum, b.warmup_epochs), (t.box_gain, t.obj_gain, t.cls_gain)) == PUBLISHED[name]
    assert b.optimizer == "SGD"
    assert t.ema_tau == 2000


def test_there_are_these() -> None:
    assert list(load_presets()) == [*PUBLISHED, "slimming", *BOARDS]


@pytest.mark.parametrize("name", BOARDS)
def test_preset_of_a_board_sets_its_chip_and_leaves_training_alone(params: Path, name: str) -> None:
    before = load_params(params)
    apply_preset(params, load_preset(name))
    after = load_params(params)
    assert after.atc.soc_version == BOARDS[name]
    assert (after.baseline, after.train, after.prune) == (before.baseline, before.train, before.prune)


@pytest.mark.parametrize("name", load_presets())
def test_preset_changes_its_values_and_no_line_besides(params: Path, name: str) -> None:
    preset = load_preset(name)
    changes = apply_preset(params, preset)
    before, after = SHIPPED.read_text().splitlines(), params.read_text().splitlines()
    assert len(before) == len(after)
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(pairs) == len(changes) >= (0 if name in BOARDS else 3)
    comment = re.compile(r"\s#.*")
    for old, new in pairs:
        assert comment.search(old)[0] == comment.search(new)[0]  # type: ignore[index]
        assert old.split(":")[0] == new.split(":")[0]
    values: dict[str, Any] = yaml.safe_load(params.read_text())
    for section, expected in preset.values.items():
        assert values[section] == values[section] | expected
    assert apply_preset(params, preset) == {}


def test_what_was_edited_elsewhere_stays(params: Path) -> None:
    params.write_text(params.read_text().replace("epochs: 18 ", "epochs: 77 "))
    apply_preset(params, load_preset("voc"))
    assert load_params(params).baseline.epochs == 77


def test_sections_that_are_missing_are_added(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("seed: 3  # mine\n")
    apply_preset(path, load_preset("scratch-low"))
    assert path.read_text().startswith("seed: 3  # mine\n")
    assert load_params(path).baseline.lr0 == 0.01
    assert load_params(path).sparse == Params().sparse


def test_unknown_preset_names_the_nearest(params: Path) -> None:
    with pytest.raises(ConfigError, match=r"no preset 'scratch-lo'; did you mean 'scratch-low'\?"):
        load_preset("scratch-lo")
    with pytest.raises(ConfigError, match="there are: scratch-low, scratch-med"):
        load_preset("zzz")
    with pytest.raises(ConfigError, match="no preset"):
        load_preset("../voc")


def test_broken_params_are_left_alone(params: Path) -> None:
    params.write_text("seed: -1\n")
    with pytest.raises(ConfigError, match="seed"):
        apply_preset(params, load_preset("voc"))
    assert params.read_text() == "seed: -1\n"


def test_command_lists_shows_and_writes(params: Path) -> None:
    run = CliRunner().invoke
    assert "from trained weights on VOC" in run(app, ["preset"]).output
    shown = run(app, ["preset", "voc", "--params", str(params), "--dry-run"]).output
    assert "baseline.lr0" in shown
    assert params.read_text() == SHIPPED.read_text()
    run(app, ["preset", "voc", "--params", str(params)])
    assert load_params(params).baseline.lr0 == 0.00334
    assert "already" in run(app, ["preset", "voc", "--params", str(params)]).output
