"""The penalties by name: values of `sparse.penalty` that train something."""

from collections.abc import Callable

from yoloslim.config import SparseParams
from yoloslim.models.detector import Detector
from yoloslim.prune_request import Scope
from yoloslim.pruning.selection import penalised_bns
from yoloslim.training.group_lasso import GroupLasso
from yoloslim.training.growing import GrowingPenalty
from yoloslim.training.sparsity import Collapse, SparsityPenalty

Maker = Callable[[Detector, Scope, SparseParams, Collapse | None], SparsityPenalty]
"""Takes the network that training starts from, the scope of what may go, the section `sparse`, and when to stop."""


def slimming(model: Detector, scope: Scope, phase: SparseParams, collapse: Collapse | None = None) -> SparsityPenalty:
    """Network Slimming: on BatchNorm scales alone."""
    momentum = phase.momentum if phase.optimizer == "SGD" else 0.0
    layers = penalised_bns(model, scope)
    return SparsityPenalty(model, layers, phase.rate, phase.mode, phase.beta_factor, momentum, collapse)


PENALTIES: dict[str, Maker] = {"slimming": slimming, "group": GroupLasso, "growing": GrowingPenalty}
"""Name in params.yaml -> what makes the callback."""
