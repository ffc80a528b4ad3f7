"""What penalties on all weights of channel groups have in common, whatever their strength."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from yoloslim.config import SparseParams
from yoloslim.models.detector import Detector
from yoloslim.prune_request import Scope
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.forecast import NEAR_ZERO
from yoloslim.pruning.group_weights import GroupWeights
from yoloslim.pruning.selection import candidate_groups, penalised_bns
from yoloslim.training.callback import Row, State
from yoloslim.training.sparsity import Collapse, SparsityPenalty


class GroupPenalty(SparsityPenalty, ABC):
    """Pulls whole channel groups towards zero: their filters, what reads them, and their BatchNorm scales.

    A penalty gives the pull of each group, as a share of its weights. Mode `subgradient` adds `pull * w` to the
    gradients, once they are unscaled and clipped; mode `proximal` takes `lr * pull / (1 - momentum)` of the weights off
    (all of them at most) after the optimizer's step, for SGD, and `lr * pull` for Adam. Frozen layers stay as they are.
    """

    def __init__(self, model: Detector, scope: Scope, phase: SparseParams, collapse: Collapse | None = None) -> None:
        """Take the network that training starts from, the section `sparse`, and the scope of what may go."""
        coupling = find_coupling(model)
        momentum = phase.momentum if phase.optimizer == "SGD" else 0.0
        layers = penalised_bns(coupling, scope)
        super().__init__(model, layers, phase.rate, phase.mode, 0.0, momentum, collapse)
        self.coupling = coupling
        self.weights = GroupWeights(model, coupling, candidate_groups(coupling, scope))

    @abstractmethod
    def pulls(self, state: State) -> Tensor:
        """(groups,) at this step: what share of its weights a step of rate 1 takes off a group; 0 leaves it alone."""

    @torch.no_grad()
    def before_step(self, state: State) -> None:
        """Add the gradients of the penalty."""
        if self.mode == "subgradient":
            self.weights.add_gradient(state.model, self.pulls(state))

    @torch.no_grad()
    def after_step(self, state: State) -> None:
        """Take the pull off the weights, in proximal mode."""
        if self.mode == "proximal":
            share = self.pulls(state) * (state.lr / (1 - self.momentum))
            self.weights.shrink(state.model, share.clamp(max=1))

    def after_epoch(self, state: State) -> Row:
        """What is said of the scales (see SparsityPenalty), and the share of groups whose norm is near zero."""
        norms = self.weights.norms(state.ema)[self.weights.allowed]
        return super().after_epoch(state) | {"groups_near_zero": float((norms < NEAR_ZERO).float().mean())}
