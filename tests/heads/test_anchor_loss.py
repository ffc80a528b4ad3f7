"""The loss against loops over boxes, anchors and cells, written from the formulas in double precision."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.tiny import ANCHORS, tiny_spec
from yoloslim.heads.anchor import YOLOV5_BOXES, BoxDecoding
from yoloslim.heads.anchor_loss import AnchorLoss, Gains, assign
from yoloslim.heads.iou import complete_iou
from yoloslim.models.spec import ModelSpec

CPU = torch.device("cpu")
STRIDES = (8, 16, 32)
GAINS = Gains(box_gain=0.05, obj_gain=1.0, cls_gain=0.5, anchor_t=4.0, label_smoothing=0.0)
Match = tuple[int, int, int, int, tuple[float, float, float, float], int]
"""Image, anchor, row, column, box (centre from the cell's corner, sides; in cells), label."""


def reference_matches(
    targets: Tensor, anchors: list[tuple[float, float]], grid: tuple[int, int], t: float, reach: float = 0.5
) -> list[Match]:
    rows, columns = grid
    found: list[Match] = []
    for image, label, x, y, w, h in targets.tolist():
        x, y, w, h = x * columns, y * rows, w * columns, h * rows
        home = (min(int(x), columns - 1), min(int(y), rows - 1))
        cells = [home]
        if x % 1 < reach and x > 1:
            cells.append((int(x) - 1, home[1]))
        if x % 1 > 1 - reach and x < columns - 1:
            cells.append((int(x) + 1, home[1]))
        if y % 1 < reach and y > 1:
            cells.append((home[0], int(y) - 1))
        if y % 1 > 1 - reach and y < rows - 1:
            cells.append((home[0], int(y) + 1))
        for number, (aw, ah) in enumerate(anchors):
            if w > 0 and h > 0 and max(w / aw, aw / w, h / ah, ah / h) < t:
                found += [(int(image), number, r, c, (x - c, y - r, w, h), int(label)) for c, r in cells]
    return found


def reference_ciou(a: list[Tensor], b: tuple[float, float, float, float]) -> Tensor:
    (ax, ay, aw, ah), (bx, by, bw, bh) = a, b
    left, right = torch.clamp(ax - aw / 2, min=bx - bw / 2), torch.clamp(ax + aw / 2, max=bx + bw / 2)
    top, bottom = torch.clamp(ay - ah / 2, min=by - bh / 2), torch.clamp(ay + ah / 2, max=by + bh / 2)
    overlap = torch.clamp(right - left, min=0) * torch.clamp(bottom - top, min=0)
    iou = overlap / (aw * ah + bw * bh - overlap)
    hull_w = torch.clamp(ax + aw / 2, min=bx + bw / 2) - torch.clamp(ax - aw / 2, max=bx - bw / 2)
    hull_h = torch.clamp(ay + ah / 2, min=by + bh / 2) - torch.clamp(ay - ah / 2, max=by - bh / 2)
    distance = ((ax - bx) ** 2 + (ay - by) ** 2) / (hull_w**2 + hull_h**2)
    shape = 4 / math.pi**2 * (math.atan(bw / bh) - torch.atan(aw / ah)) ** 2
    alpha = (shape / (1 - iou + shape)).detach()
    return iou - distance - alpha * shape


def bce(logit: Tensor, goal: float) -> Tensor:
    p = torch.sigmoid(logit)
    return -(goal * torch.log(p) + (1 - goal) * torch.log(1 - p))


def reference_loss(
    heads: list[Tensor], targets: Tensor, gains: Gains, imgsz: int, decoding: BoxDecoding = YOLOV5_BOXES
) -> tuple[Tensor, list[Tensor]]:
    """Sum over levels; heads are float64."""
    nc = heads[0].shape[-1] - 5
    box = obj = cls = torch.zeros((), dtype=torch.float64)
    scales = decoding.scale_x_y or (2, 2, 2)
    for head, pixels, stride, balance, spread in zip(heads, ANCHORS, STRIDES, (4.0, 1.0, 0.4), scales, strict=True):
        anchors = [(w / stride, h / stride) for w, h in pixels]
        matches = reference_matches(targets, anchors, (head.shape[2], head.shape[3]), gains.anchor_t, (spread - 1) / 2)
        goals: dict[tuple[int, ...], float] = {}
        costs, class_costs = [], []
        for image, anchor, row, column, target, label in matches:
            place = (image, anchor, row, column)
            answer = head[place]
            s = torch.sigmoid(answer[:4])
            factor = (2 * s[2:]) ** 2 if decoding.kind == "yolov5" else torch.exp(answer[2:4])
            centre, sides = (
                spread * s[:2] - (spread - 1) / 2,
                factor * torch.tensor(anchors[anchor], dtype=torch.float64),
            )
            iou = reference_ciou([*centre, *sides], target)
            costs.append(1 - iou)
            goals[place] = max(goals.get(place, 0.0), iou.item())
            for k in range(nc):
                smooth = gains.label_smoothing / 2
                class_costs.append(bce(answer[5 + k], 1 - smooth if k == label else smooth))
        if matches:
            box = box + torch.stack(costs).mean()
            if nc > 1:
                cls = cls + torch.stack(class_costs).mean()
        places = itertools.product(*map(range, head.shape[:4]))
        cells = [bce(head[at][4], goals.get(at, 0.0)) for at in places]
        obj = obj + balance * torch.stack(cells).mean()
    parts = [
        gains.box_gain * box,
        gains.obj_gain * (imgsz / 640) ** 2 * obj,
        gains.cls_gain * nc / 80 * cls,
    ]
    return torch.stack(parts).sum() * len(heads[0]), parts


def loss_of(spec: ModelSpec, gains: Gains) -> AnchorLoss:
    return AnchorLoss(spec.head, spec.nc, spec.imgsz, gains, CPU)  # type: ignore[arg-type]


def random_targets(count: int, images: int, nc: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    image, label = torch.randint(images, (count,), generator=rng), torch.randint(nc, (count,), generator=rng)
    centre, sides = torch.rand(count, 2, generator=rng), 0.02 + 0.8 * torch.rand(count, 2, generator=rng)
    return torch.cat([image[:, None].float(), label[:, None].float(), centre, sides], 1)


def random_heads(images: int, nc: int, seed: int, imgsz: int = 64) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    shapes = [(images, 2, imgsz // s, imgsz // s, 5 + nc) for s in STRIDES]
    return [torch.randn(shape, generator=rng).requires_grad_() for shape in shapes]


def row(x: float, y: float, w: float, h: float, image: int = 0, label: int = 0) -> list[float]:
    return [image, label, x, y, w, h]


CORNERS = [row(x, y, 0.3, 0.3) for x in (0.0, 1.0) for y in (0.0, 1.0)]
TARGETS = {
    "none": torch.zeros(0, 6),
    "one": torch.tensor([row(0.41, 0.63, 0.2, 0.3)]),
    "random": random_targets(24, 2, 3, seed=1),
    "many on one cell": torch.tensor([row(0.43, 0.43, 0.1 + 0.03 * i, 0.2, label=i % 3) for i in range(9)]),
    "the same box twice": torch.tensor([row(0.4, 0.4, 0.2, 0.2)] * 2),
    "at borders": torch.tensor([*CORNERS, row(0.01, 0.5, 0.02, 0.9), row(0.5, 0.99, 1.0, 0.02)]),
    "between cells": torch.tensor([row(0.5, 0.25, 0.3, 0.3), row(0.125, 0.875, 0.2, 0.2)]),
    "too small and too large for all anchors": torch.tensor([row(0.5, 0.5, 0.002, 0.2), row(0.5, 0.5, 0.0, 0.0)]),
    "second image only": torch.tensor([row(0.3, 0.7, 0.2, 0.2, image=1)]),
}


DECODINGS = {
    "yolov5": YOLOV5_BOXES,
    "yolov3": BoxDecoding(kind="darknet", scale_x_y=(1, 1, 1)),
    "yolov4": BoxDecoding(kind="darknet", scale_x_y=(1.2, 1.1, 1.05)),
}


@pytest.mark.parametrize("kind", DECODINGS)
@pytest.mark.parametrize("nc", [3, 1])
@pytest.mark.parametrize("name", TARGETS)
def test_loss_and_gradients_equal_the_reference(name: str, nc: int, kind: str) -> None:
    targets = TARGETS[name].clone()
    targets[:, 1].clamp_(max=nc - 1)
    gains = replace(GAINS, label_smoothing=0.1 if name == "random" else 0.0)
    spec = tiny_spec(tuple("abc"[:nc]))
    head = spec.head.model_copy(update={"decoding": DECODINGS[kind]})
    spec = spec.model_copy(update={"head": head})
    heads = random_heads(2, nc, seed=len(name))
    doubles = [h.detach().double().requires_grad_() for h in heads]
    expected, expected_parts = reference_loss(doubles, targets, gains, spec.imgsz, DECODINGS[kind])
    actual, parts = loss_of(spec, gains)(heads, targets)
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(parts.double(), torch.stack(expected_parts).detach(), rtol=1e-5, atol=1e-6)
    actual.backward()
    expected.backward()
    for mine, theirs in zip(heads, doubles, strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("grid", [(8, 8), (3, 5), (1, 1)])
def test_assignment_equals_the_reference(seed: int, grid: tuple[int, int]) -> None:
    targets = random_targets(20, 3, 4, seed)
    anchors = [(1.0, 1.0), (2.0, 1.25), (0.4, 3.0)]
    found = assign(targets, torch.tensor(anchors), grid, 4.0)
    columns = (found.image, found.anchor, found.row, found.column, found.labels)
    mine = sorted(zip(*(c.tolist() for c in columns), *found.boxes.T.tolist(), strict=True))
    theirs = sorted((i, a, r, c, k, *box) for i, a, r, c, box, k in reference_matches(targets, anchors, grid, 4.0))
    assert [m[:5] for m in mine] == [t[:5] for t in theirs]
    assert theirs
    torch.testing.assert_close(torch.tensor(mine), torch.tensor(theirs), rtol=0, atol=1e-5)
    assert torch.equal(found.anchors, torch.tensor(anchors)[found.anchor])


def test_assignment_by_hand() -> None:
    # centre (2.3, 1.8) in cells: nearest neighbours are left and below
    targets = torch.tensor([[0, 1, 2.3 / 4, 1.8 / 4, 0.25, 0.25]])
    found = assign(targets, torch.tensor([[1.0, 1.0], [5.0, 1.0]]), (4, 4), 4.0)
    assert sorted(zip(found.column.tolist(), found.row.tolist(), strict=True)) == [(1, 1), (2, 1), (2, 2)]
    assert found.anchor.tolist() == [0, 0, 0]


def test_only_cells_that_can_reach_a_centre_answer_for_it() -> None:
    targets = torch.tensor([[0, 1, 2.03 / 4, 1.8 / 4, 0.25, 0.25]])  # centre (2.03, 1.8) in cells

    def cells(reach: float) -> list[tuple[int, int]]:
        found = assign(targets, torch.tensor([[1.0, 1.0]]), (4, 4), 4.0, reach)
        return sorted(zip(found.column.tolist(), found.row.tolist(), strict=True))

    assert cells(0.0) == [(2, 1)]
    assert cells(0.1) == [(1, 1), (2, 1)]
    assert cells(0.5) == [(1, 1), (2, 1), (2, 2)]


def test_of_two_boxes_on_one_prediction_the_better_fit_sets_the_goal_whatever_the_order() -> None:
    targets = TARGETS["many on one cell"]
    heads, loss = random_heads(1, 3, seed=0), loss_of(tiny_spec(tuple("abc")), GAINS)
    torch.testing.assert_close(loss(heads, targets)[1], loss(heads, targets.flip(0))[1], rtol=1e-5, atol=0)


def test_loss_in_bf16_is_computed_in_float32() -> None:
    loss = loss_of(tiny_spec(), GAINS)
    rounded = [h.detach().bfloat16() for h in random_heads(2, 2, seed=0)]
    targets = random_targets(8, 2, 2, seed=0)
    total, parts = loss(rounded, targets)
    assert total.dtype == torch.float32
    assert torch.equal(parts, loss([h.float() for h in rounded], targets)[1])


def test_perfect_answer_costs_no_box_loss() -> None:
    targets = torch.tensor([row(0.5 / 8 + 3 / 8, 0.5 / 8 + 4 / 8, 8 / 64, 8 / 64)])
    heads = [torch.zeros(1, 2, 64 // s, 64 // s, 7) for s in STRIDES]  # zeros are the cell's centre and the anchor
    gains = replace(GAINS, anchor_t=1.1)  # the 8 x 8 anchor alone answers
    _, parts = loss_of(tiny_spec(), gains)(heads, targets)
    assert parts[0].item() == pytest.approx(0, abs=1e-7)
    assert parts[2].item() == pytest.approx(0.5 * 2 / 80 * math.log(2), rel=1e-5)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((5, 5, 4, 2), (5, 5, 4, 2), 1.0),
        # apart: no overlap, centres 4 apart, hull 6 x 2, same shape
        ((1, 1, 2, 2), (5, 1, 2, 2), -16 / 40),
        # one inside the other, same centre and shape: only IoU is left
        ((0, 0, 4, 4), (0, 0, 2, 2), 0.25),
        # crossed: IoU 4/12, shape term v = 4/pi^2 (atan 2 - atan 1/2)^2
        ((0, 0, 4, 2), (0, 0, 2, 4), None),
    ],
)
def test_complete_iou_by_hand(a: tuple[float, ...], b: tuple[float, ...], expected: float | None) -> None:
    if expected is None:
        v = 4 / math.pi**2 * (math.atan(2) - math.atan(0.5)) ** 2
        expected = 1 / 3 - v * v / (1 - 1 / 3 + v)
    found = complete_iou(torch.tensor([a], dtype=torch.float32), torch.tensor([b], dtype=torch.float32))
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_complete_iou_of_degenerate_boxes_is_finite() -> None:
    a = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1e-8, 5]], requires_grad=True)
    value = complete_iou(a, torch.tensor([[1.0, 1, 2, 2], [1, 1, 2, 2]]))
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()
