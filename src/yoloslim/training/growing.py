"""Growing regularisation (GReg-1, arXiv 2012.09243): an L2 penalty, in growing steps, on the groups ranked lowest."""

import logging

import torch
from torch import Tensor

from yoloslim.config import SparseParams
from yoloslim.errors import PruneError
from yoloslim.models.detector import Detector
from yoloslim.prune_request import PruneRequest, Scope
from yoloslim.pruning.selection import select_channels
from yoloslim.training.callback import State
from yoloslim.training.group_penalty import GroupPenalty
from yoloslim.training.sparsity import Collapse

logger = logging.getLogger(__name__)

GROWS_IN = 100
"""Equal steps from no penalty to `rate`, over the whole training."""
LAYER_KEEP = 0.1
"""Share of its channels on which the penalty never lies, in every layer: a network without one of them is lost."""


def grown(rate: float, step: int, steps: int) -> float:
    """The penalty's factor at a step of all steps: after each hundredth of the training, a hundredth of `rate` more."""
    return rate * (step * GROWS_IN // steps) / GROWS_IN


class GrowingPenalty(GroupPenalty):
    """The penalty `rate_t / 2 * |w|^2` over all weights of the groups that a cut by `sparse.percent` would take.

    The groups are ranked once, before the training, by the norms of `GroupWeights`; a tenth of every layer's are never
    chosen. `rate_t` grows from 0 to `rate`, so that weights move over to the groups that stay while the others fade.
    """

    def __init__(self, model: Detector, scope: Scope, phase: SparseParams, collapse: Collapse | None = None) -> None:
        """See GroupPenalty."""
        super().__init__(model, scope, phase, collapse)
        norms, layers = self.weights.norms(model).cpu().numpy(), self.coupling.layers
        scores = {path: norms[layers[path].outputs] for path in self.layers}
        request = PruneRequest(scope, percent=phase.percent, layer_keep=LAYER_KEEP, round_to=1)
        keep = torch.from_numpy(select_channels(model, self.coupling, request, scores=scores).keep)
        self.chosen = (self.weights.allowed.cpu() & ~keep).float()
        count, most = int(self.chosen.sum()), int(self.weights.allowed.sum())
        if not count:
            raise PruneError(f"sparse.percent={phase.percent:g} takes none of {most} channel groups; raise it")
        logger.info("growing penalty: on %d of %d channel groups, those of the smallest norms", count, most)

    def pulls(self, state: State) -> Tensor:
        """See GroupPenalty."""
        device = next(state.model.parameters()).device
        return self.chosen.to(device) * grown(self.rate, state.step, state.steps * state.epochs)
