import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.tiny import tiny_detector
from tests.training.test_fit import fit, task
from yoloslim.errors import TrainError
from yoloslim.training.memory import choose_batch, largest_that_fits, ran_out, usual_batch

ROOT = Path(__file__).parents[2]


class Narrow(nn.Module):
    """A layer with room for so many images: a fake of a full GPU."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB (fake)")
        return x


@pytest.mark.parametrize(
    ("room", "advice"), [(3, "a batch of 3 fits: set train.batch=3"), (0, "not even one image fits: lower imgsz")]
)
def test_full_memory_says_which_batch_fits(room: int, advice: str) -> None:
    model = tiny_detector()
    model.model[0] = nn.Sequential(Narrow(room), model.model[0])
    message = f"no memory left on cpu for a batch of 7 images of 64 px; {advice}"
    with pytest.raises(TrainError, match=message):
        fit(task(1, model=model, train={"batch": 7}))


def test_other_errors_of_a_step_stay_what_they_are() -> None:
    model = tiny_detector()
    model.model[0] = nn.Conv2d(5, 4, 3)
    with pytest.raises(RuntimeError, match="expected input"):
        fit(task(1, model=model))


@pytest.mark.slow
def test_real_lack_of_memory_is_understood(tmp_path: Path) -> None:
    code = """
import resource, torch
from tests.tiny import tiny_detector, tiny_train_set
from tests.training.test_fit import fit, task
fit(task(1))  # what torch needs for itself
images = tiny_train_set(64, 1024)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700_000_000,) * 2)
fit(task(1, model=tiny_detector(imgsz=1024), train_set=images, train={"batch": 64}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert "no memory left on cpu for a batch of 64 images of 1024 px; a batch of" in done.stderr


def test_errors_of_memory_are_told_from_others() -> None:
    assert ran_out(torch.OutOfMemoryError("x"))
    assert ran_out(MemoryError())
    assert ran_out(
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried")
    )
    assert not ran_out(RuntimeError("shape mismatch"))


def test_largest_batch_is_found_by_halving() -> None:
    tried = []

    def attempt(images: int) -> None:
        tried.append(images)
        if images > 5:
            raise MemoryError

    assert largest_that_fits(attempt, 64) == 4
    assert tried == [32, 16, 8, 4]
    assert largest_that_fits(attempt, 1) == 0


@pytest.mark.parametrize(("images", "batch"), [(3, 1), (50, 4), (292, 16), (5000, 32), (100_000, 32)])
def test_automatic_batch_of_a_cpu_suits_the_data_set(images: int, batch: int) -> None:
    assert choose_batch(lambda n: pytest.fail("needs no attempt"), torch.device("cpu"), images) == batch
    assert usual_batch(images) == batch


def test_automatic_batch_trains_and_is_kept_on_resume(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    fit(task(1, train={"batch": 0}, checkpoint=path))
    assert torch.load(path, weights_only=True)["batch"] == 1
