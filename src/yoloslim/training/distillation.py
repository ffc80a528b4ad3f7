"""Knowledge distillation: a pruned model learns from the model that it was cut from, as a callback."""

import threading
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yoloslim.config import TrainParams
from yoloslim.errors import TrainError
from yoloslim.models.detector import Detector, fuse
from yoloslim.training.callback import Callback, State


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
            raise TrainError("distillation with both weights 0 does nothing; raise one, or set finetune.distill=none")
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
            TrainError: teacher and student answer in different forms.
        """
        _check(state.model, self.teacher)
        device = next(state.model.parameters()).device
        self._fixed = fuse(self.teacher).to(device, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]
        self._loss = self.teacher.spec.loss(self.params, device)
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
            terms.append(self.feature * feature_term(self._mine.take(), self._theirs.take()))
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


def _check(student: Detector, teacher: Detector) -> None:
    for name in ("classes", "head"):
        mine, theirs = getattr(student.spec, name), getattr(teacher.spec, name)
        if mine != theirs:
            raise TrainError(
                f"the teacher {teacher.spec.name} has {name} {theirs!r}, the student {mine!r}: only a model "
                "that answers in the same form can teach; prune from it, or set finetune.distill=none"
            )
