"""Group lasso over all weights of coupled channels, weaker the more a group matters (DepGraph, arXiv 2301.12900)."""

import torch
from torch import Tensor

from yoloslim.training.callback import State
from yoloslim.training.group_penalty import GroupPenalty
from yoloslim.training.sparsity import decayed

FALLS_BY = 4.0
"""The strongest group feels 2 to the minus this of what the weakest feels; the alpha of the paper."""


class GroupLasso(GroupPenalty):
    """The penalty `rate_e * sum over groups of s_k * I_k`, with the group norms `I_k` of `GroupWeights`.

    `s_k = 2 ^ (-4 (I_k - min I) / (max I - min I))`, over all groups that may go, is 1 for the weakest group and 1/16
    for the strongest (the paper's 1 to 16 within a layer, divided by 16), and counts as a constant of the step. In the
    metric in which `I_k` is a norm the gradient is `rate_e * s_k * w / I_k`, so a step takes `lr * rate_e * s_k` off
    `I_k`, whatever its size; the proximal step gives exact zeros. `rate_e` falls as that of slimming does.
    """

    def pulls(self, state: State) -> Tensor:
        """See GroupPenalty."""
        norms, allowed = self.weights.norms(state.model), self.weights.allowed
        known = norms[allowed]
        least, most = known.min(), known.max()
        strength = torch.exp2(-FALLS_BY * (norms - least) / (most - least).clamp(min=1e-12))
        pulls = decayed(self.rate, state.epoch, state.epochs) * strength / norms.clamp(min=1e-12)
        return torch.where(allowed, pulls, 0.0)
