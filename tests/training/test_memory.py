import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.tiny import tiny_detector, tiny_train_set
from tests.training.test_fit import fit, task, train_params
from yoloslim.data.trainset import TrainSet
from yoloslim.errors import TrainError, memory_ran_out
from yoloslim.training.distillation import Distillation
from yoloslim.training.memory import choose_batch, largest_that_fits, try_batch, usual_batch

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
from tests.training.test_fit import fit, task, train_params
fit(task(1))  # what torch needs for itself
images = tiny_train_set(64, 1024)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700_000_000,) * 2)
fit(task(1, model=tiny_detector(imgsz=1024), train_set=images, train={"batch": 64}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert "no memory left on cpu for a batch of 64 images of 1024 px; a batch of" in done.stderr


def test_errors_of_memory_are_told_from_others() -> None:
    assert memory_ran_out(torch.OutOfMemoryError("x"))
    assert memory_ran_out(MemoryError())
    assert memory_ran_out(
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried")
    )
    assert not memory_ran_out(RuntimeError("shape mismatch"))


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


class FakeGpu:
    """Of 1000 bytes, 400 are held already (images); a batch takes 50, and so many an image: a fake."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, image: int) -> None:
        self.image, self.peak = image, 0
        fakes = {
            "empty_cache": lambda: None,
            "reset_peak_memory_stats": lambda device: None,
            "mem_get_info": lambda device: (600, 1000),
            "memory_allocated": lambda device: 400,
            "max_memory_allocated": lambda device: self.peak,
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(f"torch.cuda.{name}", fake)

    def attempt(self, images: int) -> None:
        self.peak = 450 + images * self.image
        if self.peak > 1000:
            raise torch.OutOfMemoryError("CUDA out of memory (fake)")


@pytest.mark.parametrize(
    ("image", "devices", "batch"),
    [
        (10, 1, 32),  # 0.8 * 600 bytes hold 43 images, and 32 is the power of two below
        (10, 2, 64),
        (100, 1, 4),  # 8 do not go through
        (100, 2, 8),
        (600, 1, 1),  # not even one: training itself will say so
    ],
)
def test_automatic_batch_of_a_gpu_is_what_it_has_room_for(
    image: int, devices: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = FakeGpu(monkeypatch, image).attempt
    assert choose_batch(attempt, torch.device("cuda"), 100_000, devices) == batch


def test_automatic_batch_gives_every_device_an_image() -> None:
    assert choose_batch(lambda n: None, torch.device("cpu"), 12, devices=3) == 3


def test_automatic_batch_is_tried_at_the_largest_side_next_to_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def choose(attempt: Callable[[int], None], *_: object) -> int:
        attempt(2)
        return 3

    def place(images: TrainSet, *_: object) -> TrainSet:
        seen.append("images")
        return images

    monkeypatch.setattr("yoloslim.training.fit.choose_batch", choose)
    monkeypatch.setattr("yoloslim.training.fit.on_device", place)
    monkeypatch.setattr("yoloslim.training.learner.try_batch", lambda model, autocast, *batch: seen.append(batch))
    fit(task(1, train_set=tiny_train_set(6), train={"batch": 0, "multi_scale": 0.5, "resolutions": (32, 64)}))
    assert seen == ["images", (2, 96, [])]


def test_teacher_counts_in_what_a_batch_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr("yoloslim.training.fit.choose_batch", lambda attempt, *_: attempt(2) or 3)
    monkeypatch.setattr("yoloslim.training.learner.try_batch", lambda model, autocast, *batch: seen.append(batch))
    teacher = tiny_detector(seed=1)
    fit(task(1, train={"batch": 0}, callbacks=(Distillation(teacher, train_params()),)))
    assert seen == [(2, 64, [teacher])]


def test_networks_beside_see_the_batch_too() -> None:
    model, teacher = tiny_detector(), tiny_detector(seed=1)
    teacher.model[4] = nn.Sequential(teacher.model[4], Narrow(1))
    try_batch(model, nullcontext, 1, 64, [teacher])
    with pytest.raises(torch.OutOfMemoryError):
        try_batch(model, nullcontext, 2, 64, [teacher])
    assert all(p.grad is None for p in (*model.parameters(), *teacher.parameters()))


def test_trying_a_batch_leaves_no_trace_even_where_it_fails() -> None:
    model = tiny_detector()
    model.model[4] = nn.Sequential(model.model[4], Narrow(1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try_batch(model, nullcontext, 1, 64)
    with pytest.raises(torch.OutOfMemoryError):
        try_batch(model, nullcontext, 2, 64)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_automatic_batch_trains_and_is_kept_on_resume(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    fit(task(1, train={"batch": 0}, checkpoint=path))
    assert torch.load(path, weights_only=True)["batch"] == 1
