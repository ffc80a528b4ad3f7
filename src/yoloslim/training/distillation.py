"""Knowledge distillation: a pruned model learns from the model that it was cut from, as a callback."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yoloslim.errors import TrainError
from yoloslim.models.detector import Detector, fuse
from yoloslim.training.callback import Callback, State
from yoloslim.training.loss import DetectionLoss, Gains, boxes_of, complete_iou

SURE = 0.01
"""Below this objectness the teacher says nothing about boxes and classes: its weight there would be next to none."""


class OutputTerm:
    """How far a student's detections are from a teacher's: objectness-scaled distillation (arXiv 1805.06361).

    Every cell learns the teacher's objectness; its box and classes count as far as the teacher is sure that there
    is an object, so that the many empty cells teach nothing wrong. The parts stand in for those of the detection
    loss and carry its weights, level by level: for the box 1 - complete IoU with the teacher's box, for objectness
    and classes the Kullback-Leibler divergence of Bernoulli distributions. Class logits are divided by a
    temperature T, and the divergence multiplied by T^2 (arXiv 1503.02531). A student that equals its teacher costs 0.
    """

    def __init__(self, loss: DetectionLoss, temperature: float = 1.0) -> None:
        self.loss, self.temperature = loss, temperature

    def __call__(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The term, a scalar, mean over images, of raw logits (B, anchors, h, w, 5 + classes) by level."""
        loss = self.loss
        total = student[0].new_zeros((), dtype=torch.float32)
        levels = zip(student, teacher, loss.anchors, loss.balance, loss.scales, strict=True)
        for mine, theirs, anchors, balance, scale in levels:
            mine, theirs = mine.float(), theirs.float()
            total = total + loss.obj_weight * balance * bernoulli_kl(mine[..., 4], theirs[..., 4]).mean()
            sure = theirs[..., 4].sigmoid()
            cells = torch.nonzero(sure > SURE, as_tuple=True)
            if len(cells[0]):
                weight = sure[cells] / sure[cells].sum()
                box, classes = self._answers(mine[cells], theirs[cells], anchors[cells[1]], scale)
                total = total + (weight * (loss.box_weight * box + loss.cls_weight * classes)).sum()
        return total

    def _answers(self, mine: Tensor, theirs: Tensor, anchors: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Costs of boxes and of classes, (k,) each, of raw answers (k, 5 + classes)."""
        kind = self.loss.kind
        box = 1 - complete_iou(boxes_of(mine, anchors, kind, scale), boxes_of(theirs, anchors, kind, scale))
        if self.loss.nc == 1:  # the class of an only class is not trained
            return box, torch.zeros_like(box)
        t = self.temperature
        return box, t * t * bernoulli_kl(mine[:, 5:] / t, theirs[:, 5:] / t).mean(1)


def bernoulli_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(teacher || student) of Bernoulli distributions given by logits, elementwise."""
    p = teacher.sigmoid()
    return _cross_entropy(student, p) - _cross_entropy(teacher, p)


def _cross_entropy(logits: Tensor, p: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, p, reduction="none")


def feature_term(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """How differently two networks spread their attention over the image (attention transfer, arXiv 1612.03928).

    The map of a feature tensor is its mean square over channels, scaled to length 1: it says where the features are
    strong, and has no channels, so a pruned student needs no adapter to be compared.

    Args:
        student: features (B, C, h, w) by level.
        teacher: likewise, with other numbers of channels.

    Returns:
        Squared distance of the maps, a scalar in [0, 2], mean over levels and images.
    """
    pairs = zip(student, teacher, strict=True)
    distances = [(_attention(mine) - _attention(theirs)).square().sum(1).mean() for mine, theirs in pairs]
    return torch.stack(distances).mean()


def _attention(features: Tensor) -> Tensor:
    return F.normalize(features.float().square().mean(1).flatten(1))


class Distillation(Callback):
    """Adds to the loss what separates the model from its teacher, which sees the same augmented images.

    The teacher is fixed and no part of a checkpoint.
    """

    def __init__(
        self, teacher: Detector, gains: Gains, output: float = 1.0, feature: float = 1.0, temperature: float = 1.0
    ) -> None:
        """Take a teacher.

        Args:
            teacher: left unchanged.
            gains: weights of the parts of the detection loss, which the output term shares.
            output, feature: weights of the terms; 0 leaves one out.
            temperature: see OutputTerm.

        Raises:
            TrainError: both weights are 0.
        """
        if not output and not feature:
            raise TrainError("distillation with both weights 0 does nothing; raise one, or set finetune.distill=none")
        self.teacher, self.gains, self.output, self.feature = teacher, gains, output, feature
        self.temperature = temperature
        self._sums = torch.zeros(2)
        self._images = 0

    def beside(self) -> Sequence[Detector]:
        """See Callback."""
        return (self.teacher,)

    def start(self, state: State) -> None:
        """Bring the teacher beside the student.

        Raises:
            TrainError: teacher and student answer in different forms.
        """
        _check(state.model, self.teacher)
        device = next(state.model.parameters()).device
        self._fixed = fuse(self.teacher).to(device, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]
        self._term = OutputTerm(DetectionLoss(self.teacher.spec, self.gains, device), self.temperature)
        if self.feature:
            self._mine, self._theirs = _Tap(state.model), _Tap(self._fixed)
        self._sums = self._sums.to(device)

    def extra_loss(self, state: State) -> Tensor:
        """Both terms, weighted, summed over the images of the batch."""
        with torch.no_grad(), state.autocast():
            heads = self._fixed(state.images)
        zero = state.heads[0].new_zeros((), dtype=torch.float32)
        terms = torch.stack([
            self.output * self._term(state.heads, heads) if self.output else zero,
            self.feature * feature_term(self._mine.take(), self._theirs.take()) if self.feature else zero,
        ])  # fmt: skip
        self._sums += terms.detach() * len(state.images)
        self._images += len(state.images)
        return terms.sum() * len(state.images)

    def after_epoch(self, state: State) -> dict[str, float]:
        """The mean of each term over the epoch's images."""
        output, feature = (self._sums / max(self._images, 1)).tolist()
        self._sums.zero_()
        self._images = 0
        row = {"distill_output_loss": output} if self.output else {}
        return row | ({"distill_feature_loss": feature} if self.feature else {})

    def saved(self) -> dict[str, Tensor]:
        """The sums of an unfinished epoch; the teacher comes from its file again."""
        return {"sums": self._sums.cpu(), "images": torch.tensor(self._images)}

    def restore(self, saved: dict[str, Tensor]) -> None:
        """See Callback."""
        self._sums, self._images = saved["sums"].clone(), int(saved["images"])


class _Tap:
    """Holds what the head of a model reads: the last feature tensor of each level."""

    def __init__(self, model: Detector) -> None:
        self._seen: list[Tensor] = []
        model.model[-1].register_forward_pre_hook(self._keep)

    def _keep(self, _: nn.Module, inputs: tuple[Sequence[Tensor], ...]) -> None:
        self._seen = list(inputs[0])

    def take(self) -> list[Tensor]:
        """The features of the last forward; they are let go."""
        seen, self._seen = self._seen, []
        return seen


def _check(student: Detector, teacher: Detector) -> None:
    for name in ("classes", "anchors", "strides", "decoding"):
        mine, theirs = getattr(student.spec, name), getattr(teacher.spec, name)
        if tuple(mine) != tuple(theirs):
            raise TrainError(
                f"the teacher {teacher.spec.name} has {name} {list(theirs)}, the student {list(mine)}: only a model "
                "that answers in the same form can teach; prune from it, or set finetune.distill=none"
            )
