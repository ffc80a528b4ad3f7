"""Knowledge distillation: a pruned model learns from a larger one, as a callback."""

import threading
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from yoloslim.config import TrainParams
from yoloslim.errors import TrainError
from yoloslim.models.detector import Detector, fuse
from yoloslim.training.callback import Callback, State
from yoloslim.training.teachers import form_differs

RIDGE = 1e-3
"""Added to the diagonal of the normal equations, as a share of its mean, so that they have an answer."""


def feature_term(student: Sequence[Tensor], teacher: Sequence[Tensor], sure: Sequence[Tensor]) -> Tensor:
    """How much of a teacher's features is not to be had from a student's.

    At each level a linear map, a 1x1 convolution of the student's features, comes as near to the teacher's as it can
    (least squares over the cells of the batch, found anew in each step). What it leaves is the loss: a share of the
    teacher's variance. Since the map is the best one, the gradient with respect to the features is the same whether it
    is held fixed or not; so it is no weight that would have to be trained, kept and thrown away, as the projectors of
    FitNets (arXiv 1412.6550) are.

    Args:
        student: features (B, C, h, w) by level.
        teacher: likewise, with other numbers of channels.
        sure: (B, h, w) by level, from 0 to 1: how far the teacher is sure that a cell has an object. Half of the
            weight goes to cells in proportion to it, half to all alike.

    Returns:
        A scalar in [0, 1], mean over levels.
    """
    with torch.autocast(student[0].device.type, enabled=False):
        return torch.stack([_unexplained(*level) for level in zip(student, teacher, sure, strict=True)]).mean()


def _unexplained(student: Tensor, teacher: Tensor, sure: Tensor) -> Tensor:
    x, t = (features.float().permute(0, 2, 3, 1).flatten(0, 2) for features in (student, teacher))
    sure = sure.float().flatten()
    weight = 0.5 * sure / sure.sum().clamp_min(1e-6) + 0.5 / len(sure)
    weight = (weight / weight.sum())[:, None]
    x, t = x - (weight * x).sum(0), t - (weight * t).sum(0)
    with torch.no_grad():
        weighted = weight * x
        gram = weighted.T @ x
        gram.diagonal().add_(RIDGE * gram.diagonal().mean() + 1e-12)
        factor, _ = torch.linalg.cholesky_ex(gram)
        projector = torch.cholesky_solve(weighted.T @ t, factor)
        variance = (weight * t.square()).sum()
    return (weight * (t - x @ projector).square()).sum() / (variance + 1e-12)


class Distillation(Callback):
    """Adds to the loss what separates the model from its teacher, which sees the same augmented images.

    The teacher is fixed and no part of a checkpoint.
    """

    def __init__(
        self,
        teacher: Detector,
        params: TrainParams,
        output: float = 1.0,
        feature: float = 1.0,
        temperature: float = 1.0,
    ) -> None:
        """Take a teacher.

        Args:
            teacher: left unchanged.
            params: weights of the parts of the detection loss, which the output term shares.
            output, feature: weights of the terms; 0 leaves one out.
            temperature: class logits are divided by it; see the `distance` of the head's loss.

        Raises:
            TrainError: both weights are 0.
        """
        if not output and not feature:
            raise TrainError("distillation with both weights 0 does nothing; raise one, or leave the teacher out")
        self.teacher, self.params, self.output, self.feature = teacher, params, output, feature
        self.temperature = temperature
        weights = {"distill_output": output, "distill_feature": feature}
        self.terms = tuple(name for name, weight in weights.items() if weight)

    def beside(self) -> Sequence[Detector]:
        """See Callback."""
        return (self.teacher,)

    def start(self, state: State) -> None:
        """Bring the teacher beside the student.

        Raises:
            TrainError: teacher and student answer in different forms, or in one that says nothing of how sure it is.
        """
        if said := form_differs(self.teacher.spec, state.model.spec):
            raise TrainError(said)
        device = next(state.model.parameters()).device
        self._fixed = fuse(self.teacher).to(device, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]
        self._loss = self.teacher.spec.loss(self.params, device)
        for term, method in (("output", "distance"), ("feature", "certainty")):
            if f"distill_{term}" in self.terms and not hasattr(self._loss, method):
                raise TrainError(
                    f"finetune.distill_{term} needs `{method}`, which the loss of heads of kind "
                    f"'{self.teacher.spec.head.kind}' does not have; set finetune.distill_{term}=0, or add it"
                )
        if self.feature:
            self._mine, self._theirs = _Tap(state.model), _Tap(self._fixed)

    def extra_loss(self, state: State) -> Tensor:
        """Both terms, weighted, summed over the images of the batch."""
        with torch.no_grad(), state.autocast():
            heads = self._fixed(state.images)
        terms: list[Tensor] = []
        if self.output:
            terms.append(self.output * self._loss.distance(state.heads, heads, self.temperature))
        if self.feature:
            sure = self._loss.certainty(heads)
            terms.append(self.feature * feature_term(self._mine.take(), self._theirs.take(), sure))
        return torch.stack(terms) * len(state.images)


class _Tap:
    """Holds what the head of a model, or of a copy of it, reads: the last feature tensor of each level, by thread."""

    def __init__(self, model: Detector) -> None:
        self._seen = threading.local()
        model.model[-1].register_forward_pre_hook(self._keep)

    def _keep(self, _: nn.Module, inputs: tuple[Sequence[Tensor], ...]) -> None:
        self._seen.features = list(inputs[0])

    def take(self) -> list[Tensor]:
        """The features of the last forward; they are let go."""
        seen: list[Tensor] = self._seen.features
        del self._seen.features
        return seen

    def __deepcopy__(self, _: object) -> "_Tap":
        return self  # a copied network answers to the same tap
