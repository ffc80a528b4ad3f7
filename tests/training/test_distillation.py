import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.tiny import shake_norms, tiny_detector
from tests.training.test_fit import Fuse, assert_same_weights, task, without_clock
from yoloslim.config import TrainParams
from yoloslim.errors import TrainError
from yoloslim.heads.anchor_loss import AnchorLoss, bernoulli_kl
from yoloslim.models.detector import Detector, resize_to
from yoloslim.models.zoo import build_spec
from yoloslim.training.distillation import Distillation, feature_term
from yoloslim.training.fit import Callback, fit

TRAIN = TrainParams(box_gain=0.05, obj_gain=1.0, cls_gain=0.5)
CPU = torch.device("cpu")


def taught() -> Detector:
    """A teacher with opinions."""
    teacher = tiny_detector(seed=5)
    shake_norms(teacher)
    for conv in teacher.model[-1].m:
        nn.init.normal_(conv.weight, 0, 0.5, generator=torch.Generator().manual_seed(1))
        conv.bias.data.view(2, -1)[:, 4] += 4
    return teacher


def distillation(output: float = 1.0, feature: float = 1.0, temperature: float = 2.0) -> Distillation:
    return Distillation(taught(), TRAIN, output, feature, temperature)


def heads(value: float = -20.0) -> list[Tensor]:
    return [torch.full((1, 2, side, side, 7), value) for side in (8, 4, 2)]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def divergence(student: float, teacher: float) -> float:
    p, q = sigmoid(teacher), sigmoid(student)
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def output_term(temperature: float = 1.0) -> Callable[[list[Tensor], list[Tensor]], Tensor]:
    return partial(tiny_detector().spec.loss(TRAIN, CPU).distance, temperature=temperature)


def test_divergence_of_bernoulli_distributions() -> None:
    found = bernoulli_kl(torch.tensor([0.0, 1.0, -3.0]), torch.tensor([2.0, 1.0, 0.5]))
    expected = [divergence(0, 2), 0.0, divergence(-3, 0.5)]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-7)


def test_output_term_by_hand() -> None:
    """One cell of the coarsest level, 2 x 2 cells of 2 anchors, differs in everything; all others agree.

    The teacher's box has the anchor's sides, (40, 40) px at 32 px a cell; the student's is half as wide and shares
    its centre: IoU 1/2, no distance; the angles of their diagonals are atan(1/2) and atan(1).
    """
    student, teacher = heads(), heads()
    teacher[2][0, 0, 1, 0] = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 3.0, -2.0])
    half = math.log(math.sqrt(0.5) / (2 - math.sqrt(0.5)))  # (2 s(half))^2 = 1/2
    student[2][0, 0, 1, 0] = torch.tensor([0.0, 0.0, half, 0.0, -1.0, 0.5, -1.0])

    shape = 4 / math.pi**2 * (math.atan(0.5) - math.atan(1)) ** 2
    box = 1 - (0.5 - shape * shape / (1 - 0.5 + shape))
    classes = 4 * (divergence(0.25, 1.5) + divergence(-0.5, -1.0)) / 2  # temperature 2
    objectness = 0.4 * divergence(-1, 1) / 8
    expected = 0.05 * box + 0.5 * 2 / 80 * classes + (64 / 640) ** 2 * objectness
    assert float(output_term(2.0)(student, teacher)) == pytest.approx(expected, rel=1e-5)


def test_cells_count_as_far_as_the_teacher_is_sure() -> None:
    term, costs = output_term(), []
    for sure in (30.0, 0.0, -30.0):
        student, teacher = heads(), heads()
        for level in (student, teacher):
            level[0][..., :4] = 0.0
            level[0][0, 0, 0, 0, 4], level[0][0, 0, 0, 1, 4] = 30.0, sure
        student[0][0, 0, 0, 1, :4] = 2.0  # wrong only where the teacher is `sure`
        costs.append(float(term(student, teacher)))
    assert costs[1] == pytest.approx(costs[0] * (0.5 / 1.5) / (1 / 2), rel=1e-5)
    assert costs[2] == pytest.approx(0, abs=1e-6)


def test_equal_networks_cost_nothing() -> None:
    same = [torch.randn(2, 2, side, side, 7, generator=torch.Generator().manual_seed(side)) for side in (8, 4, 2)]
    assert float(output_term()(same, same)) == pytest.approx(0, abs=1e-6)
    levels = [each.flatten(1, 1).permute(0, 1, 4, 2, 3).flatten(1, 2) for each in same]
    assert float(feature_term(levels, levels, [level[:, 0].sigmoid() for level in levels])) < 0.01


def test_teacher_that_sees_nothing_teaches_objectness_alone() -> None:
    student = heads(0.0)
    total = sum(balance * divergence(0, -20) for balance in (4.0, 1.0, 0.4))
    assert float(output_term()(student, heads())) == pytest.approx((64 / 640) ** 2 * total, rel=1e-4)


EVEN = torch.full((1, 1, 3), 0.5)


def test_feature_term_by_hand() -> None:
    """A student channel (0, 1, 2), two teacher channels: one follows it with noise, the other is none of its business.

    With even weights the regression of (1, 3, 5.3) on (0, 1, 2) leaves (0.05, -0.1, 0.05), that of (1, -2, 1) all.
    """
    student = torch.tensor([[[[0.0, 1.0, 2.0]]]])
    teacher = torch.tensor([[[[1.0, 3.0, 5.3]], [[1.0, -2.0, 1.0]]]])
    left, variance = 0.05**2 + 0.1**2 + 0.05**2, 2.1**2 + 0.1**2 + 2.2**2
    expected = (left + 6) / (variance + 6)
    assert float(feature_term([student], [teacher], [EVEN])) == pytest.approx(expected, rel=1e-3)
    found = feature_term([student, student], [teacher, student], [EVEN, EVEN])
    assert float(found) == pytest.approx(expected / 2, rel=2e-3)


def test_feature_term_heeds_cells_where_the_teacher_is_sure() -> None:
    """Weights are half even, half by certainty: (1/6, 1/6, 2/3) where the last cell alone has an object."""
    student = torch.tensor([[[[0.0, 1.0, 3.0]]]])
    teacher = torch.tensor([[[[0.0, 4.0, 3.0]]]])
    w, x, t = np.array([1 / 6, 1 / 6, 2 / 3]), np.array([0.0, 1, 3]), np.array([0.0, 4, 3])
    x, t = x - (w * x).sum(), t - (w * t).sum()
    slope = (w * x * t).sum() / (w * x * x).sum()
    expected = (w * (t - slope * x) ** 2).sum() / (w * t * t).sum()
    found = feature_term([student], [teacher], [torch.tensor([[[0.0, 0.0, 0.9]]])])
    assert float(found) == pytest.approx(expected, rel=1e-3)


def test_a_student_that_holds_what_its_teacher_knows_costs_nothing_whatever_its_channels() -> None:
    rng = torch.Generator().manual_seed(0)
    teacher = [torch.randn(2, 3, 6, 6, generator=rng)]
    mixed = torch.einsum("bchw,dc->bdhw", teacher[0], torch.randn(5, 3, generator=rng)) + 7
    assert float(feature_term([mixed], teacher, [torch.zeros(2, 6, 6)])) == pytest.approx(0, abs=5e-3)
    assert float(feature_term([mixed[:, :2]], teacher, [torch.zeros(2, 6, 6)])) > 0.1


def test_the_gradient_is_that_of_a_projector_which_is_found_anew() -> None:
    """Held fixed or not, the best map gives the same gradient: finite differences of the whole term."""
    rng = torch.Generator().manual_seed(1)
    student = torch.randn(1, 2, 4, 5, generator=rng, dtype=torch.float64).requires_grad_()
    teacher = torch.randn(1, 3, 4, 5, generator=rng, dtype=torch.float64)
    sure = torch.rand(1, 4, 5, generator=rng)
    feature_term([student], [teacher], [sure]).backward()
    assert student.grad is not None
    step, place = 1e-2, (0, 1, 2, 3)
    around = []
    for sign in (1, -1):
        moved = student.detach().clone()
        moved[place] += sign * step
        around.append(float(feature_term([moved], [teacher], [sure])))
    assert float(student.grad[place]) == pytest.approx((around[0] - around[1]) / (2 * step), rel=0.03)


@pytest.mark.parametrize("name", ["yolov5n", "yolov8n", "yolo26n"])
def test_certainty_is_the_largest_score_of_a_cell(name: str) -> None:
    spec = build_spec(name, ("a", "b"))
    network = Detector(spec).train()
    outputs = network(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    found = spec.loss(TRAIN, CPU).certainty(outputs)
    assert [tuple(level.shape) for level in found] == [(1, 8, 8), (1, 4, 4), (1, 2, 2)]
    last = outputs[-1].detach()
    by_hand = last[..., 4].sigmoid().amax(1) if last.ndim == 5 else last[:, -2:].sigmoid().amax(1)
    torch.testing.assert_close(found[-1].detach(), by_hand)


def test_gradient_reaches_the_student_and_never_the_teacher() -> None:
    student = tiny_detector()
    callback = distillation()
    before = {name: value.clone() for name, value in callback.teacher.state_dict().items()}
    fit(task(1, model=student, callbacks=(callback,)))
    assert all(torch.equal(value, before[name]) for name, value in callback.teacher.state_dict().items())
    assert all(p.grad is None for p in callback.teacher.parameters())
    with pytest.raises(AssertionError):
        assert_same_weights(fit(task(1)).model, fit(task(1, callbacks=(distillation(),))).model)


@pytest.mark.parametrize(("output", "feature"), [(1.0, 0.0), (0.0, 1.0)])
def test_student_comes_nearer_to_its_teacher(output: float, feature: float) -> None:
    only = {"box_gain": 0, "obj_gain": 0, "cls_gain": 0}
    still = {"mosaic": 0, "scale": 0, "translate": 0, "hsv_h": 0, "hsv_s": 0, "hsv_v": 0, "flip": 0}
    phase = task().phase.model_copy(update={"optimizer": "AdamW", "epochs": 25})
    history = fit(task(train=only | still, phase=phase, callbacks=(distillation(output, feature),))).history
    name = "distill_output_loss" if output else "distill_feature_loss"
    assert history[-1][name] < 0.6 * history[0][name]
    assert ("distill_output_loss" in history[0]) == (output > 0)
    assert ("distill_feature_loss" in history[0]) == (feature > 0)


@pytest.mark.parametrize("stop", [2, 3, 5, 11], ids=lambda s: f"step{s}")
def test_resumed_run_equals_uninterrupted_run(tmp_path: Path, stop: int) -> None:
    whole = fit(task(callbacks=(distillation(), Callback())))
    path = tmp_path / "x.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(task(checkpoint=path, callbacks=(distillation(), Fuse(stop))))
    resumed = fit(task(checkpoint=path, callbacks=(distillation(), Callback())))
    assert_same_weights(resumed.model, whole.model)
    assert without_clock(resumed) == without_clock(whole)


def test_teacher_is_no_part_of_a_checkpoint(tmp_path: Path) -> None:
    fit(task(1, checkpoint=tmp_path / "with.pt", callbacks=(distillation(),)))
    fit(task(1, checkpoint=tmp_path / "without.pt", callbacks=(Callback(),)))
    with_teacher, without = ((tmp_path / f"{name}.pt").stat().st_size for name in ("with", "without"))
    assert abs(with_teacher - without) < 3000


def test_student_may_be_narrower_than_its_teacher_and_bf16_agrees_with_fp32() -> None:
    student = tiny_detector()
    resize_to(student, {"model.0.conv": (3, 2), "model.0.bn": (2, 2), "model.1.conv": (2, 8)})
    resize_to(student, {"model.3.cv3.conv": (8, 5), "model.3.cv3.bn": (5, 5), "model.4.conv": (5, 8)})
    resize_to(student, {"model.6.m.0": (5, 14)})
    rows = [
        fit(task(1, model=student, train={"precision": precision}, callbacks=(distillation(),))).history[0]
        for precision in ("fp32", "bf16")
    ]
    for name in ("distill_output_loss", "distill_feature_loss"):
        assert rows[0][name] > 0
        assert rows[1][name] == pytest.approx(rows[0][name], rel=0.05)


def test_teacher_of_other_classes_is_refused() -> None:
    callback = Distillation(tiny_detector(("a", "c")), TRAIN)
    with pytest.raises(
        TrainError, match=r"has classes \('a', 'c'\), the student \('a', 'b'\).*or none: finetune.distill_output=0 and"
    ):
        fit(task(1, callbacks=(callback,)))


@pytest.mark.parametrize(("term", "method"), [("output", "distance"), ("feature", "certainty")])
def test_a_head_that_cannot_teach_is_refused(monkeypatch: pytest.MonkeyPatch, term: str, method: str) -> None:
    monkeypatch.delattr(AnchorLoss, method)
    said = f"finetune.distill_{term} needs `{method}`, which the loss of heads of kind 'anchor' does not have"
    with pytest.raises(TrainError, match=said):
        fit(task(1, callbacks=(distillation(),)))


def test_weights_that_leave_nothing_are_refused() -> None:
    with pytest.raises(TrainError, match="both weights 0 does nothing"):
        distillation(0, 0)


def test_single_class_has_no_class_part() -> None:
    loss = tiny_detector(("a",)).spec.loss(TRAIN, CPU)
    student, teacher = ([torch.full((1, 2, side, side, 6), 2.0) for side in (8, 4, 2)] for _ in range(2))
    student = [level.index_fill(4, torch.tensor([5]), -3.0) for level in student]
    assert float(loss.distance(student, teacher, 1.0)) == pytest.approx(0, abs=1e-6)
