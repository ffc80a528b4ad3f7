"""The loss and its assignment against a slow reference that goes by the rules one box and one cell after another."""

import math
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from yoloslim.config import TrainParams
from yoloslim.heads.anchor_free_loss import (
    AnchorFreeLoss,
    distribution_loss,
    expected_distances,
    gains_of,
    one_to_many_share,
)

STRIDES, GAINS = (8, 16, 32), (7.5, 0.5, 1.5)


def ciou(a: Sequence[float], b: Sequence[float]) -> float:
    """Complete IoU of two `xyxy` boxes."""
    (w1, h1), (w2, h2) = (a[2] - a[0], a[3] - a[1]), (b[2] - b[0], b[3] - b[1])
    overlap = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    iou = overlap / (w1 * h1 + w2 * h2 - overlap + 1e-7)
    diagonal = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2 + 1e-7
    distance = ((a[0] + a[2] - b[0] - b[2]) ** 2 + (a[1] + a[3] - b[1] - b[3]) ** 2) / 4
    v = 4 / math.pi**2 * (math.atan(w2 / (h2 + 1e-7)) - math.atan(w1 / (h1 + 1e-7))) ** 2
    return iou - distance / diagonal - v * v / (1 - iou + v + 1e-7)


def reference(maps: list[Tensor], targets: Tensor, bins: int, k: int, k2: int | None) -> list[float]:
    """Parts with their gains, divided by the sum of the soft targets."""
    height, width = maps[0].shape[2] * STRIDES[0], maps[0].shape[3] * STRIDES[0]
    cells = [
        (x + 0.5, y + 0.5, s)
        for each, s in zip(maps, STRIDES, strict=True)
        for y in range(each.shape[2])
        for x in range(each.shape[3])
    ]
    wrong_class, wrong_box, wrong_distance, weights = 0.0, 0.0, 0.0, 0.0
    for image in range(len(maps[0])):
        rows = torch.cat([each[image].flatten(1) for each in maps], 1).T.double()
        sides, logits = rows[:, : 4 * bins].reshape(-1, 4, bins), rows[:, 4 * bins :]
        distances = sides[..., 0] if bins == 1 else (sides.softmax(2) * torch.arange(bins)).sum(2)
        predicted = [
            ((px - d[0]) * s, (py - d[1]) * s, (px + d[2]) * s, (py + d[3]) * s)
            for (px, py, s), d in zip(cells, distances.tolist(), strict=True)
        ]
        truths = []
        for _, label, x, y, w, h in targets[targets[:, 0] == image].tolist():
            box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
            truths.append((int(label), box))
        overlap = torch.zeros(len(truths), len(cells), dtype=torch.double)
        metric = overlap.clone()
        for g, (label, box) in enumerate(truths):
            wide = list(box)
            for axis in (0, 1):
                if box[axis + 2] - box[axis] < 16:
                    middle = (box[axis] + box[axis + 2]) / 2
                    wide[axis], wide[axis + 2] = middle - 8, middle + 8
            for a, (px, py, s) in enumerate(cells):
                x, y = px * s, py * s
                if min(x - wide[0], y - wide[1], wide[2] - x, wide[3] - y) > 1e-9:
                    overlap[g, a] = max(ciou(box, predicted[a]), 0)
                    metric[g, a] = logits[a, label].sigmoid() ** 0.5 * overlap[g, a] ** 6
        taken = torch.zeros_like(metric, dtype=torch.bool)
        for g in range(len(truths)):
            best = metric[g].argsort(descending=True, stable=True)[:k]
            taken[g, best] = metric[g, best] > 0
        for a in range(len(cells)):
            if taken[:, a].sum() > 1:
                taken[:, a] = False
                taken[overlap[:, a].argmax(), a] = True
        for g in range(len(truths) if k2 else 0):
            kept = (metric[g] * taken[g]).argsort(descending=True, stable=True)[:k2]
            mine = torch.zeros(len(cells), dtype=torch.bool)
            mine[kept] = True
            taken[g] &= mine
        goal = torch.zeros_like(logits)
        for g, (label, box) in enumerate(truths):
            for a in torch.nonzero(taken[g]).flatten().tolist():
                px, py, s = cells[a]
                soft = float(metric[g, a] * overlap[g, taken[g]].max() / (metric[g, taken[g]].max() + 1e-9))
                goal[a, label] = soft
                weights += soft
                wrong_box += soft * (1 - ciou([v / s for v in predicted[a]], [v / s for v in box]))
                true = [px - box[0] / s, py - box[1] / s, box[2] / s - px, box[3] / s - py]
                for side, t in enumerate(true):
                    if bins == 1:
                        size = (width, height)[side % 2]
                        wrong_distance += soft * abs(float(distances[a, side]) - t) * s / size / 4
                        continue
                    t = min(max(t, 0), bins - 1.01)
                    log, j = sides[a, side].log_softmax(0), int(t)
                    wrong_distance += -soft * float((j + 1 - t) * log[j] + (t - j) * log[j + 1]) / 4
        wrong_class += float(F.binary_cross_entropy_with_logits(logits, goal, reduction="sum"))
    sums = (wrong_box, wrong_class, wrong_distance)
    return [gain * value / max(weights, 1) for gain, value in zip(GAINS, sums, strict=True)]


def random_maps(bins: int, nc: int = 3, seed: int = 0, images: int = 3, side: int = 96) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    maps = []
    for stride in STRIDES:
        each = torch.randn(images, 4 * bins + nc, side // stride, side // stride, generator=rng)
        if bins == 1:
            each[:, :4] = each[:, :4] + 2
        maps.append(each)
    return maps


def random_targets(count: int, seed: int = 0, low: float = 0.05, high: float = 0.6) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    sides = low + (high - low) * torch.rand(count, 2, generator=rng)
    centres = sides / 2 + (1 - sides) * torch.rand(count, 2, generator=rng)
    image, label = torch.randint(0, 2, (count, 1), generator=rng), torch.randint(0, 3, (count, 1), generator=rng)
    return torch.cat([image, label, centres, sides], 1)  # the third image has none


TARGETS = {
    "none": torch.zeros(0, 6),
    "one": torch.tensor([[1, 2, 0.5, 0.5, 0.4, 0.3]]),
    "some": random_targets(9),
    "300": random_targets(300, low=0.02, high=0.3),
    "smaller than a cell": random_targets(12, low=0.002, high=0.06),
    "of no size": torch.tensor([[0, 1, 0.4, 0.4, 0.0, 0.0], [0, 1, 0.6, 0.6, 0.2, 0.0]]),
    "identical": torch.tensor([[0, 1, 0.4, 0.4, 0.3, 0.5]] * 3 + [[0, 2, 0.4, 0.4, 0.3, 0.5]]),
    "whole image": torch.tensor([[0, 0, 0.5, 0.5, 1.0, 1.0], [0, 1, 0.5, 0.5, 0.5, 0.5]]),
}


@pytest.mark.parametrize("bins", [16, 1])
@pytest.mark.parametrize("case", TARGETS)
def test_parts_equal_those_of_the_rules(case: str, bins: int) -> None:
    maps, targets = random_maps(bins), TARGETS[case]
    loss, parts = AnchorFreeLoss(STRIDES, bins, 3, GAINS)(maps, targets)
    expected = torch.tensor(reference(maps, targets, bins, 10, None))
    torch.testing.assert_close(parts, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss, 3 * expected.sum(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", TARGETS)
def test_two_branches_are_mixed_by_epoch(case: str) -> None:
    many, one, targets = random_maps(1), random_maps(1, seed=1), TARGETS[case]
    objective = AnchorFreeLoss(STRIDES, 1, 3, GAINS)
    objective.start_epoch(0, 2)
    first, parts = objective(many + one, targets)
    expected = [torch.tensor(reference(m, targets, 1, *k)) for m, k in ((many, (10, None)), (one, (7, 1)))]
    torch.testing.assert_close(parts, expected[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(first, 3 * (0.8 * expected[0] + 0.2 * expected[1]).sum(), rtol=1e-5, atol=1e-5)
    objective.start_epoch(1, 2)
    last, _ = objective(many + one, targets)
    torch.testing.assert_close(last, 3 * (0.1 * expected[0] + 0.9 * expected[1]).sum(), rtol=1e-5, atol=1e-5)


def test_gradients_lead_downhill_and_processes_add_up() -> None:
    maps = [each.requires_grad_() for each in random_maps(16)]
    targets = TARGETS["some"]
    objective = AnchorFreeLoss(STRIDES, 16, 3, GAINS)
    loss, _ = objective(maps, targets)
    loss.backward()
    with torch.no_grad():
        after, _ = objective([each - 1e-3 * each.grad for each in maps], targets)
    assert after < loss
    halves = [([each[:1] for each in maps], targets[targets[:, 0] == 0])]
    rest = targets[targets[:, 0] > 0].clone()
    rest[:, 0] -= 1
    halves.append(([each[1:] for each in maps], rest))
    sums: list[Tensor] = []
    for part, boxes in halves:  # what each process has to add
        AnchorFreeLoss(STRIDES, 16, 3, GAINS, lambda x: sums.append(x) or x)(part, boxes)
    whole = sum(sums)
    together = [AnchorFreeLoss(STRIDES, 16, 3, GAINS, lambda x: whole)(part, boxes)[0] for part, boxes in halves]
    torch.testing.assert_close(sum(together), loss.detach(), rtol=1e-5, atol=1e-5)


def test_share_of_the_one_to_many_branch() -> None:
    assert [round(one_to_many_share(e, 3), 3) for e in range(4)] == [0.8, 0.45, 0.1, 0.1]
    assert one_to_many_share(0, 1) == pytest.approx(0.8)


def test_distances_and_distribution_by_hand() -> None:
    sure = torch.full((1, 4, 16), -50.0)
    sure[0, torch.arange(4), torch.tensor([0, 3, 15, 7])] = 50
    assert expected_distances(sure.view(1, 64), 16)[0].tolist() == pytest.approx([0, 3, 15, 7])
    assert expected_distances(torch.tensor([[-1.0, 2, 3, 40]]), 1).tolist() == [[-1, 2, 3, 40]]
    flat = torch.zeros(1, 64)
    assert distribution_loss(flat, torch.tensor([[0.5, -3, 99, 15]]), 16).item() == pytest.approx(math.log(16))


def test_a_box_gain_of_anchor_heads_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert gains_of(TrainParams()) == (7.5, 0.5, 1.5)
    assert caplog.text == ""
    assert gains_of(TrainParams(box_gain=0.05))[0] == 0.05
    assert "train.box_gain 0.05 suits heads with anchors; without them 7.5 is usual" in caplog.text
