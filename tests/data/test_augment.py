from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.data.splits import write_split
from tests.tiny import tiny_train_set
from yoloslim.boxes import FILL
from yoloslim.data.augment import Augmentation, Augmenter, Batch
from yoloslim.data.evalset import load_eval_set
from yoloslim.data.sampling import gather
from yoloslim.data.trainset import TrainSet, load_train_set

CPU = torch.device("cpu")
NONE = vars(Augmentation.none())
USUAL = {"mosaic": 1.0, "scale": 0.5, "translate": 0.1, "hsv_h": 0.015, "hsv_s": 0.7, "hsv_v": 0.4, "flip": 0.5}
COLOURS = torch.tensor([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)][1:], dtype=torch.uint8)
SIZE = 96


def augment(
    images: TrainSet, seed: int = 0, indices: Tensor | None = None, compose: bool = True, **strengths: float
) -> Batch:
    augmenter = Augmenter(images, Augmentation(**(NONE | strengths)), CPU)
    chosen = torch.arange(len(images)) if indices is None else indices
    return augmenter.batch(chosen, torch.Generator().manual_seed(seed), compose)


def painted(width: int = SIZE, height: int = SIZE) -> TrainSet:
    """One box an image, filled with a colour of its own on black; the label says which."""
    count = len(COLOURS)
    images = torch.full((count, SIZE, SIZE, 3), FILL, dtype=torch.uint8)
    images[:, :height, :width] = 0
    boxes = torch.zeros(count, 1, 4)
    for i, colour in enumerate(COLOURS):
        left, top, right, bottom = 20 + 2 * i, 16 + i, 50 + 3 * i, 50 + i
        images[i, top:bottom, left:right] = colour
        boxes[i, 0] = torch.tensor([left, top, right, bottom])
    return TrainSet(images, torch.tensor([[width, height]] * count), boxes, torch.arange(count)[:, None])


def pixels_of(image: Tensor, label: int) -> Tensor:
    """Where the image (3, S, S) is nearer to the label's colour than to black or to the fill: (S, S) bool."""
    return ((image - COLOURS[label][:, None, None] / 255).abs() < 0.5).all(0)


def hull(mask: Tensor) -> Tensor:
    rows, columns = torch.nonzero(mask, as_tuple=True)
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()


def corners(target: Tensor, size: int = SIZE) -> Tensor:
    centre, sides = target[..., 2:4] * size, target[..., 4:6] * size
    return torch.cat([centre - sides / 2, centre + sides / 2], -1)


def inside(box: Tensor, grow: float) -> Tensor:
    """Pixels whose middle lies in the box, grown on all sides."""
    at = torch.arange(SIZE) + 0.5
    x = (at > box[0] - grow) & (at < box[2] + grow)
    y = (at > box[1] - grow) & (at < box[3] + grow)
    return y[:, None] & x[None]


@pytest.mark.parametrize("compose", [True, False])
def test_zero_strengths_give_the_images_and_boxes_of_evaluation(tmp_path: Path, compose: bool) -> None:
    split = write_split(tmp_path / "voc")
    batch = augment(load_train_set(split, 64, tmp_path / "cache"), compose=compose)
    truth = load_eval_set(split, 64, tmp_path / "cache")
    expected = torch.from_numpy(truth.images[:]).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(batch.images, expected, rtol=0, atol=1e-4)
    boxes = [g.to_canvas(a.boxes[:1]) for g, a in zip(truth.letterboxes, truth.annotations, strict=True)]
    assert batch.targets[:, :2].tolist() == [[0, 0], [1, 1], [2, 0]]
    for target, box in zip(batch.targets, boxes, strict=False):
        torch.testing.assert_close(corners(target, 64), torch.from_numpy(box[0]), rtol=0, atol=1e-3)


def test_last_epochs_leave_out_mosaic_and_mixup() -> None:
    images = tiny_train_set(4)
    plain = augment(images)
    last = augment(images, compose=False, mosaic=1.0, mixup=1.0)
    assert torch.equal(last.images, plain.images)
    assert torch.equal(last.targets, plain.targets)


def test_batch_is_a_pure_function_of_the_generator() -> None:
    images = tiny_train_set(5)
    everything = {**USUAL, "mixup": 0.5, "degrees": 10.0, "shear": 5.0}
    first, again, other = (augment(images, seed, **everything) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.targets, again.targets)
    assert not torch.equal(first.images, other.images)


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (SIZE, 71), (60, SIZE)])
@pytest.mark.parametrize(
    "strengths",
    [
        {},
        {"degrees": 20.0, "shear": 8.0, "mosaic": 0.5},
        {"mosaic": 0.0},
        {"scale": 0.98},
        {"scale": 0.98, "shear": 9.0},
    ],
)
@pytest.mark.parametrize("size", [SIZE, 64, 160])
def test_device_samples_the_pixels_that_the_cpu_samples(
    shape: tuple[int, int], strengths: dict[str, float], size: int
) -> None:
    images = tiny_train_set(5, SIZE)
    smooth = F.avg_pool2d(images.images.permute(0, 3, 1, 2).float(), 5, 1, 2).permute(0, 2, 3, 1).byte().contiguous()
    images = replace(images, images=smooth, sizes=torch.tensor([shape] * 5))
    augmenter = Augmenter(images, Augmentation(**(NONE | USUAL | strengths)), CPU)
    plan = augmenter.plan(torch.arange(5), torch.Generator().manual_seed(1), size=size)
    assert plan.pixels is not None
    difference = (plan.pixels.float() - gather(images, plan.layout)).abs()
    assert difference.mean() < 0.35  # the CPU rounds to whole grey levels
    if not {"degrees", "shear"} & set(strengths):  # it repeats the rim of what it enlarges
        difference = difference[:, 1:-1, 1:-1]
    assert difference.quantile(0.999) < 4  # and rounds coordinates to 1/32 px, which shows at sharp edges


@pytest.mark.parametrize("strengths", [{}, {"mosaic": 0.0, "scale": 0.9, "translate": 0.4}])
@pytest.mark.parametrize("size", [SIZE, 64])
def test_without_turns_the_cpu_resizes_whole_pixels(strengths: dict[str, float], size: int) -> None:
    images = tiny_train_set(5, SIZE)
    augmenter = Augmenter(images, Augmentation(**(NONE | USUAL | strengths)), CPU)
    plan = augmenter.plan(torch.arange(5), torch.Generator().manual_seed(1), size=size)
    seen = plan.layout.from_output(SIZE) @ torch.tensor([[0.0, size], [0.0, size], [1.0, 1.0]])
    torch.testing.assert_close(seen, seen.round(), rtol=0, atol=1e-3)
    wide = seen[:, :, 1] - seen[:, :, 0]
    torch.testing.assert_close(wide[:, 0].abs(), wide[:, 1], rtol=0, atol=1e-3)  # squares stay squares
    assert wide.min() < 0 < wide.max()  # some mirrored


def test_rows_of_a_shared_batch_are_those_of_the_whole() -> None:
    augmenter = Augmenter(tiny_train_set(5), Augmentation(**(NONE | USUAL)), CPU)
    whole = augmenter.batch(torch.arange(5), torch.Generator().manual_seed(3))
    for rank in (0, 1):
        rows = slice(rank, None, 2)
        part = augmenter.finish(augmenter.plan(torch.arange(5), torch.Generator().manual_seed(3), rows=rows))
        assert torch.equal(part.images, whole.images[rows])
        for mine, number in enumerate(range(5)[rows]):
            expected = whole.targets[whole.targets[:, 0] == number, 1:]
            assert torch.equal(part.targets[part.targets[:, 0] == mine, 1:], expected)


@pytest.mark.parametrize("size", [64, 160])
def test_other_output_sizes_show_the_same_picture(size: int) -> None:
    images = painted()
    augmenter = Augmenter(images, Augmentation(**(NONE | {"flip": 0.5, "translate": 0.1})), CPU)
    plain, other = (
        augmenter.batch(torch.arange(len(images)), torch.Generator().manual_seed(2), size=s) for s in (SIZE, size)
    )
    assert other.images.shape == (len(images), 3, size, size)
    torch.testing.assert_close(other.targets, plain.targets, rtol=0, atol=1e-5)
    scaled = F.interpolate(plain.images, (size, size), mode="bilinear")
    assert (scaled - other.images).abs().mean() < 0.03


def test_images_are_channels_last_and_in_range() -> None:
    batch = augment(tiny_train_set(4), **(USUAL | {"hsv_v": 1.0}))
    assert batch.images.shape == (4, 3, 64, 64)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= batch.images.min() <= batch.images.max() <= 1
    assert batch.targets.dtype == torch.float32


GEOMETRY: dict[str, dict[str, Any]] = {
    "flip": {"flip": 1.0},
    "zoom": {"scale": 0.5},
    "shift": {"translate": 0.3},
    "mosaic": {"mosaic": 1.0},
    "all": {"mosaic": 1.0, "flip": 0.5, "scale": 0.5, "translate": 0.2},
}


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (SIZE, 71)])
@pytest.mark.parametrize("name", GEOMETRY)
def test_boxes_follow_their_pixels(name: str, shape: tuple[int, int]) -> None:
    images = painted(*shape)
    checked = 0
    for seed in range(6):
        batch = augment(images, seed, **GEOMETRY[name])
        for number, image in enumerate(batch.images):
            targets = batch.targets[batch.targets[:, 0] == number]
            for label in range(len(COLOURS)):
                mask = pixels_of(image, label)
                boxes = corners(targets[targets[:, 1] == label])
                explained = torch.zeros_like(mask)
                for box in boxes:
                    assert mask[inside(box, -1.5)].all()  # the box is full of its colour
                    explained |= inside(box, 1.5)
                    checked += 1
                # and its colour is nowhere else, but for what was left of a box that was dropped
                left_over = int((mask & ~explained).sum())
                assert left_over < (0.15 * 34 * 40 * 1.5**2 if "mosaic" in GEOMETRY[name] else 1)
    assert checked > 30


@pytest.mark.parametrize(
    "strengths",
    [{"degrees": 30.0}, {"shear": 10.0}, {"degrees": 15.0, "shear": 5.0, "scale": 0.2, "flip": 0.5, "translate": 0.05}],
)
def test_boxes_enclose_turned_and_sheared_pixels(strengths: dict[str, float]) -> None:
    images = painted()
    checked = 0
    for seed in range(4):
        batch = augment(images, seed, **strengths)
        for target in batch.targets:
            box = corners(target)
            if box.min() < 1 or box.max() > SIZE - 1:
                continue  # the corner that reaches furthest may be cut off
            found = hull(pixels_of(batch.images[int(target[0])], int(target[1])))
            torch.testing.assert_close(found, box, rtol=0, atol=1.5)
            checked += 1
    assert checked > 10


def test_flip_by_hand() -> None:
    images = painted()
    batch = augment(images, flip=1.0)
    assert torch.equal(pixels_of(batch.images[2], 2), pixels_of(augment(images).images[2], 2).flip(1))
    left, top, right, bottom = images.boxes[2, 0].tolist()
    torch.testing.assert_close(corners(batch.targets[2]), torch.tensor([SIZE - right, top, SIZE - left, bottom]))


def test_mosaic_shows_several_images_in_their_own_size() -> None:
    images = painted()
    batch = augment(images, seed=3, mosaic=1.0)
    counts = torch.bincount(batch.targets[:, 0].long(), minlength=len(images))
    assert counts.max() > 1
    for target in batch.targets:
        whole = images.boxes[int(target[1]), 0]
        assert target[4] * SIZE <= whole[2] - whole[0] + 1e-3
        assert target[5] * SIZE <= whole[3] - whole[1] + 1e-3


def test_boxes_of_which_too_little_is_left_are_dropped() -> None:
    images = painted()
    kept = 0
    for seed in range(10):
        for target in augment(images, seed, translate=0.5).targets:
            whole = images.boxes[int(target[1]), 0]
            sides, seen = whole[2:] - whole[:2], target[4:] * SIZE
            assert (seen > 2).all()
            assert seen.prod() > 0.1 * sides.prod()
            kept += 1
    assert 10 < kept < 70


def test_boxes_never_leave_the_image() -> None:
    batch = augment(painted(), 5, **(USUAL | {"translate": 0.5}))
    boxes = corners(batch.targets)
    assert boxes.min() >= -1e-3
    assert boxes.max() <= SIZE + 1e-3


def test_mixup_blends_half_and_half_and_keeps_the_boxes_of_both() -> None:
    images = tiny_train_set(2)
    plain, mixed = augment(images), augment(images, mixup=1.0)
    mean = plain.images.mean(0)
    torch.testing.assert_close(mixed.images[0], mean)
    torch.testing.assert_close(mixed.images[1], mean)
    for number in (0, 1):
        rows = mixed.targets[mixed.targets[:, 0] == number, 1:]
        assert sorted(rows.tolist()) == sorted(plain.targets[:, 1:].tolist())


def test_mixup_of_a_single_image_doubles_nothing() -> None:
    images = tiny_train_set(1)
    assert torch.equal(augment(images, mixup=1.0).targets, augment(images).targets)


def test_grey_stays_grey_under_hue_and_saturation() -> None:
    images = tiny_train_set(4)
    grey = images.images[..., :1].expand(-1, -1, -1, 3).contiguous()
    images = TrainSet(grey, images.sizes, images.boxes, images.labels)
    batch = augment(images, hsv_h=1.0, hsv_s=1.0)
    torch.testing.assert_close(batch.images, grey.permute(0, 3, 1, 2) / 255, rtol=0, atol=1e-4)


def test_hue_keeps_the_mean_of_the_channels() -> None:
    images = tiny_train_set(4)
    images.images.clamp_(80, 150)  # so that nothing is clipped
    plain, turned = augment(images), augment(images, hsv_h=0.2)
    torch.testing.assert_close(turned.images.mean(1), plain.images.mean(1), rtol=0, atol=1e-4)
    assert (turned.images - plain.images).abs().max() > 0.02


def test_brightness_scales_image_and_fill_alike() -> None:
    images = painted(SIZE, 71)
    images.images[:, :71] = 60
    dim = augment(images, hsv_v=0.5).images
    ratio = dim[:, 0, SIZE // 2, 0] / (60 / 255)
    assert len(set(ratio.tolist())) == len(ratio)
    torch.testing.assert_close(dim[:, 0, 2, 0], FILL / 255 * ratio)
    assert 0.5 <= ratio.min() <= ratio.max() <= 1.5


def test_images_without_boxes_give_no_targets() -> None:
    images = tiny_train_set(3)
    bare = TrainSet(images.images, images.sizes, images.boxes, torch.full_like(images.labels, -1))
    assert augment(bare, **(USUAL | {"mixup": 1.0})).targets.shape == (0, 6)


def test_data_set_of_one_image_makes_a_mosaic_of_itself() -> None:
    batch = augment(tiny_train_set(1), mosaic=1.0)
    assert batch.images.shape == (1, 3, 64, 64)
    assert len(batch.targets) >= 1
