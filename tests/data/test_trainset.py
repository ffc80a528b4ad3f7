import dataclasses
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.splits import write_split
from yoloslim.data.trainset import free_memory, load_train_set

ROOT = Path(__file__).parents[2]


def test_boxes_are_in_canvas_pixels_and_difficult_ones_left_out(tmp_path: Path) -> None:
    found = load_train_set(write_split(tmp_path / "voc"), 64, tmp_path / "cache")
    scale = 64 / 61
    assert found.labels.tolist() == [[0], [1], [0], [-1]]
    expected = torch.tensor([[2.0, 3, 60, 59], [2 * scale, 3 * scale, 57 * scale, 35 * scale]])
    torch.testing.assert_close(found.boxes[:2, 0], expected)
    assert found.sizes.tolist() == [[64, 64], [64, 42], [42, 64], [45, 64]]
    assert (len(found), found.imgsz) == (4, 64)


def test_boxes_are_padded_to_the_longest_list(tmp_path: Path) -> None:
    split = write_split(tmp_path / "voc")
    plain = dataclasses.replace(split.annotations[0], difficult=np.zeros(2, np.bool_))
    split = dataclasses.replace(split, annotations=(plain, *split.annotations[1:]))
    found = load_train_set(split, 64, tmp_path / "cache")
    assert found.labels.tolist() == [[0, 1], [1, -1], [0, -1], [-1, -1]]
    assert found.boxes[1, 1].tolist() == [0, 0, 0, 0]


def test_box_sizes_leave_out_the_padding(tmp_path: Path) -> None:
    found = load_train_set(write_split(tmp_path / "voc"), 64, tmp_path / "cache")
    assert found.box_sizes().shape == (3, 2)
    torch.testing.assert_close(found.box_sizes()[0], torch.tensor([58.0, 56.0]))


def test_images_stay_mapped_and_opening_them_warns_of_nothing(tmp_path: Path) -> None:
    split = write_split(tmp_path / "voc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load_train_set(split, 64, tmp_path / "cache")
    assert found.images.dtype == torch.uint8
    assert found.images.shape == (4, 64, 64, 3)


def test_split_without_images_or_boxes_opens(tmp_path: Path) -> None:
    split = write_split(tmp_path / "voc")
    found = load_train_set(dataclasses.replace(split, ids=(), annotations=()), 64, tmp_path / "cache")
    assert len(found) == 0
    assert found.box_sizes().shape == (0, 2)
    bare = dataclasses.replace(split, ids=split.ids[3:], annotations=split.annotations[3:])
    assert load_train_set(bare, 64, tmp_path / "cache").labels.tolist() == [[-1]]


@pytest.mark.slow
def test_set_larger_than_the_memory_trains(tmp_path: Path) -> None:
    """1.9 GB of images in a process that may take 1 GB more: they stay in their file and are read piece by piece."""
    code = """
import os, resource
import numpy as np
import torch
from numpy.lib.format import open_memmap
from tests.training.test_fit import fit, task
from yoloslim.data.trainset import TrainSet, _advise

fit(task(1))  # what torch needs for itself
count, side = 600, 1024
open_memmap("images.npy", mode="w+", dtype=np.uint8, shape=(count, side, side, 3))  # sparse on the disk
used = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used + 1_000_000_000,) * 2)
stored = np.load("images.npy", mmap_mode="r")
_advise(stored, fits=False)
try:
    np.ones(stored.shape, np.uint8)
    raise SystemExit("the limit does not hold")
except MemoryError:
    pass
boxes = torch.tensor([[100.0, 100, 500, 400]]).expand(count, 1, 4)
sizes, labels = torch.full((count, 2), side), torch.zeros(count, 1, dtype=torch.int64)
images = TrainSet(torch.from_numpy(stored), sizes, boxes, labels)
print(fit(task(1, train_set=images, train={"batch": 20})).history[0]["loss"])
"""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) > 0


@pytest.mark.parametrize(("memory_gb", "fits"), [(1e-9, False), (1.0, True)])
def test_images_that_fit_the_budget_are_read_ahead(
    tmp_path: Path, memory_gb: float, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr("yoloslim.data.trainset._advise", lambda stored, fits: seen.append(fits))
    found = load_train_set(write_split(tmp_path / "voc"), 64, tmp_path / "cache", memory_gb)
    assert seen == [fits]
    assert found.images.shape == (4, 64, 64, 3)


def test_page_cache_of_a_container_counts_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("4000\n")
    (tmp_path / "memory.stat").write_text("anon 1000\nfile 3000\ninactive_file 2500\nactive_file 500\n")
    monkeypatch.setattr("yoloslim.data.trainset.CGROUP", tmp_path)
    assert free_memory() == 3500
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 5000


def test_free_memory_is_known() -> None:
    assert 0 < free_memory() < 1e15
