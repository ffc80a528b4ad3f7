"""The whole experiment on a few drawn scenes, in an environment that lacks what training does without."""

import argparse
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from benchmarks.experiment import check_same, main, that_count

from tests.project import ROOT
from yoloslim.data.scenes.generate import generate_scenes
from yoloslim.errors import ConfigError
from yoloslim.files import read_json, write_json

BLOCKED = ("mlflow", "dvc", "prefect", "matplotlib")
SMALL = ["--imgsz", "64", "--batch", "8", "--epochs", "1", "1", "1", "--percents", "60", "--threads", "1"]


def arguments(**changes: object) -> argparse.Namespace:
    values = {"pack": Path("/a.tar"), "sets": ("train", "val", "test"), "model": "yolov5n", "imgsz": 64, "batch": 8}
    rest = {"epochs": [3, 2, 1], "rate": 0.01, "threads": 2, "percents": [50, 60]}
    return argparse.Namespace(**values | rest | changes)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("pack", Path("/b.tar"), "pack /a.tar, and this one has pack /b.tar"),
        ("sets", ["trainval", "test", "test"], "sets ['train', 'val', 'test'], and this one has sets ['trainval'"),
        ("model", "yolov5s", "model yolov5n, and this one has model yolov5s"),
        ("imgsz", 96, "imgsz 64, and this one has imgsz 96"),
        ("epochs", [3, 2, 2], "epochs [3, 2, 1], and this one has epochs [3, 2, 2]"),
        ("percents", [60, 50], "first percent 50, and this one has first percent 60"),
    ],
)
def test_a_folder_of_other_arguments_is_not_mixed_with_new_ones(
    name: str, value: object, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_same(arguments())
    write_json(Path("arguments.json"), that_count(arguments()))
    check_same(arguments(percents=[50, 70], epochs=(3, 2, 1)))
    with pytest.raises(ConfigError, match=re.escape(said) + ".*another folder with --work"):
        check_same(arguments(**{name: value}))


def test_a_mistake_ends_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["experiment", "missing.tar", "--imgsz", "100"])
    with pytest.raises(SystemExit, match="imgsz = 100: must be a multiple of 32"):
        main()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds scenes.tar, and a sitecustomize.py that lets nobody import what a bare environment lacks."""
    (tmp_path / "scenes").mkdir()
    generate_scenes(tmp_path / "scenes", 0, 64, {"train": 16, "val": 4, "test": 4}, 1)
    with tarfile.open(tmp_path / "scenes.tar", "w") as tar:
        tar.add(tmp_path / "scenes", "VOC")
    lines = ["import sys", *(f"sys.modules['{name}'] = None" for name in BLOCKED)]
    (tmp_path / "sitecustomize.py").write_text("\n".join(lines))
    return tmp_path


def experiment(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(map(str, (folder, ROOT / "src", ROOT)))
    command = [sys.executable, "-m", "benchmarks.experiment", "scenes.tar", "--work", "work", *SMALL, *more]
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=3600)


def steps_of(output: str) -> list[str]:
    return [line.removeprefix("== ") for line in output.splitlines() if line.startswith("== ")]


@pytest.mark.slow
def test_experiment_in_two_pieces_in_a_bare_environment(folder: Path) -> None:
    first = experiment(folder, "--minutes", "0.05")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == "stopped; the same command goes on"
    second = experiment(folder)
    assert second.returncode == 0, second.stderr
    begun, rest = steps_of(first.stdout), steps_of(second.stdout)
    assert rest[0] == begun[-1]  # where the first stopped
    assert len(begun) + len(rest) == len({*begun, *rest}) + 1

    point = read_json(folder / "work/coupled/as_fast.json")["percent"]
    table = [[cell.strip() for cell in row.split("|")[1:-1]] for row in second.stdout.splitlines() if row[:1] == "|"]
    assert table[0][:8] == ["model", "size px", "mAP50", "mAP50-95", "train", "params M", "size MB", "GFLOPs"]
    rows = {row[0]: row for row in table[2:]}
    pruned = [f"coupled {percent} %" for percent in sorted({point, 60})]
    assert list(rows) == ["dense", "narrow, from scratch", "source, sparse", "source 60 %", "coupled, sparse", *pruned]
    assert {row[1] for row in rows.values()} == {"64"}
    assert rows["narrow, from scratch"][4] == "batch 8, AdamW, 3 epochs"
    assert 0 < float(rows["coupled 60 %"][5]) < float(rows["source 60 %"][5]) < float(rows["dense"][5])
    stored = (folder / "work/models/baseline/model.safetensors").stat().st_size
    assert float(rows["dense"][6]) == pytest.approx(stored / 1e6, abs=0.006)
    assert rows["dense"][8] == ""
    assert 0 <= float(rows["source 60 %"][8]) <= 1
