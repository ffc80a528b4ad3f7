import time
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
import torch

from tests.tiny import tiny_spec, tiny_train_set
from tests.training.test_fit import train_params
from yoloslim.data.trainset import TrainSet
from yoloslim.errors import TrainError
from yoloslim.training.batches import Batches, ahead, image_weights

CPU = torch.device("cpu")


def batches(epochs: int = 6, count: int = 7, rank: int = 0, world: int = 1, **train: object) -> Batches:
    params = train_params(**train)
    return Batches(tiny_train_set(count), params, epochs, 0, tiny_spec(), CPU, rank, world)


def test_every_image_is_seen_once_an_epoch_in_a_new_order() -> None:
    made = batches()
    steps = [step for epoch in (0, 1) for step in made.epoch(epoch)]
    assert [step.images for step in steps] == [3, 3, 1, 3, 3, 1]
    assert [step.index for step in steps] == [0, 1, 2, 0, 1, 2]
    assert not torch.equal(steps[0].batch.images, steps[3].batch.images)


@pytest.mark.parametrize(
    ("nominal", "expected"), [(0, "111"), (3, "111"), (4, "111"), (5, "011"), (6, "011"), (9, "001"), (64, "001")]
)
def test_small_batches_share_an_update_and_the_last_of_an_epoch_always_makes_one(nominal: int, expected: str) -> None:
    made = batches(nominal_batch=nominal)
    assert "".join(str(int(step.updates)) for step in made.epoch(0)) == expected
    assert "".join(str(int(step.updates)) for step in made.epoch(0, first=2)) == expected[2:]


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_make_the_very_batches(workers: int) -> None:
    here, ahead_of_time = batches(mixup=0.5), batches(mixup=0.5, workers=workers)
    for mine, theirs in zip(here.epoch(1), ahead_of_time.epoch(1), strict=True):
        assert torch.equal(mine.batch.images, theirs.batch.images)
        assert torch.equal(mine.batch.targets, theirs.batch.targets)


def test_epoch_can_begin_in_its_middle() -> None:
    made = batches()
    whole, rest = list(made.epoch(2)), list(made.epoch(2, first=1))
    assert [step.index for step in rest] == [1, 2]
    assert all(torch.equal(a.batch.images, b.batch.images) for a, b in zip(whole[1:], rest, strict=True))


def test_last_batch_that_not_every_process_gets_an_image_of_is_left_out() -> None:
    assert [len(list(batches(count=7, rank=r, world=2).epoch(0))) for r in (0, 1)] == [2, 2]
    assert [len(batches(count=8, rank=r, world=2)) for r in (0, 1)] == [3, 3]


def test_sizes_vary_within_bounds_and_are_seeded() -> None:
    made = batches(epochs=30, multi_scale=0.5)
    sizes = [step.batch.images.shape[-1] for epoch in range(10) for step in made.epoch(epoch)]
    assert set(sizes) == {32, 64, 96}
    again = batches(epochs=30, multi_scale=0.5)
    assert sizes == [step.batch.images.shape[-1] for epoch in range(10) for step in again.epoch(epoch)]


def test_resolutions_share_the_epochs() -> None:
    made = batches(epochs=5, resolutions=(64, 128, 32))
    sizes = [next(made.epoch(epoch)).batch.images.shape[-1] for epoch in range(5)]
    assert sizes == [64, 64, 128, 128, 32]


def test_resolution_that_the_network_cannot_halve_is_refused() -> None:
    spec = tiny_spec()
    spec = spec.model_copy(update={"head": spec.head.model_copy(update={"strides": (8, 16, 64)})})
    with pytest.raises(TrainError, match=r"train.resolutions: \[96\] are no multiples of tiny's stride, 64"):
        Batches(tiny_train_set(3), train_params(resolutions=(64, 96)), 2, 0, spec, CPU)


def test_rare_classes_weigh_more() -> None:
    labels = torch.tensor([[0, 0], [0, -1], [1, -1], [-1, -1]])
    weights = image_weights(labels)  # boxes: three of class 0, one of class 1
    torch.testing.assert_close(weights, torch.tensor([2 / 3, 1 / 3, 1.0, 0.5]))
    assert image_weights(torch.full((3, 2), -1)).tolist() == [1, 1, 1]


def test_image_weights_draw_rare_classes_more_often() -> None:
    images = tiny_train_set(20)
    labels = torch.zeros_like(images.labels)
    labels[0] = 1
    made = Batches(replace(images, labels=labels), train_params(image_weights=True, batch=20, mosaic=0.0),
                   60, 0, tiny_spec(), CPU)  # fmt: skip
    seen: Counter[int] = Counter()
    for epoch in range(30):
        for step in made.epoch(epoch):
            seen.update(int(label) for label in step.batch.targets[:, 1])
    assert 0.3 < seen[1] / seen.total() < 0.7


def test_no_images_are_said() -> None:
    empty = TrainSet(torch.zeros(0, 64, 64, 3, dtype=torch.uint8), torch.zeros(0, 2, dtype=torch.int64),
                     torch.zeros(0, 1, 4), torch.zeros(0, 1, dtype=torch.int64))  # fmt: skip
    with pytest.raises(TrainError, match="0 training images for 1 device"):
        Batches(empty, train_params(), 1, 0, tiny_spec(), CPU)


def test_jobs_run_ahead_in_order_and_their_errors_come_through() -> None:
    def slow(value: int) -> int:
        time.sleep(0.01 * (3 - value))
        if value == 3:
            raise ValueError("bad image")
        return value

    results = ahead((partial(slow, i) for i in range(4)), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="bad image"):
        next(results)
