"""What layers with weights do to channel ids."""

from typing import cast

import torch
from torch import Tensor, nn

from yoloslim.pruning.coupler import Coupler, RawLayer
from yoloslim.pruning.graph import Call, spread_channels
from yoloslim.pruning.operations import INSTANCENORMS
from yoloslim.pruning.union import LayerKind


class LayerCoupler(Coupler):
    """The layers that a cut makes narrower."""

    def convolution(self, call: Call) -> Tensor:
        """New ids; a depthwise convolution passes its input's on, a grouped one couples its groups."""
        module, x = cast(nn.Conv2d, call.module), call.tensor()
        vector = self.channels(x)
        groups = module.groups
        if groups > 1 and groups == module.in_channels:
            kind: LayerKind = "depthwise"
            ids = vector.repeat_interleave(module.out_channels // groups)
        else:
            kind = "grouped" if groups > 1 else "convolution"
            ids = self._own_ids(call, module.out_channels)
        if kind == "grouped":
            self.couple_along(vector.view(groups, -1), 0)
            self.couple_along(ids.view(groups, -1), 0)
        self._record(call, kind, vector, ids, self._positions(call, 1))
        return spread_channels(ids, call.shape)

    def linear(self, call: Call) -> Tensor:
        """New ids for the last axis; along any other, a linear layer works on each channel by itself."""
        module, x = cast(nn.Linear, call.module), call.tensor()
        if self._elsewhere(x):
            inputs, outputs = (self.solid().expand(n) for n in (module.in_features, module.out_features))
            self._record(call, "linear", inputs, outputs, self._positions(call, -1))
            return x.narrow(-1, 0, 1).expand(call.shape)
        vector = self.channels(x, -1)
        ids = self._own_ids(call, module.out_features)
        self._record(call, "linear", vector, ids, self._positions(call, -1))
        return ids.expand(call.shape)

    def embedding(self, call: Call) -> Tensor:
        """New ids for the last axis; the table keeps its entries."""
        ids = self._own_ids(call, cast(nn.Embedding, call.module).embedding_dim)
        self._record(call, "embedding", ids, ids, 0)
        return ids.expand(call.shape)

    def batchnorm(self, call: Call) -> Tensor:
        """Ids pass."""
        vector = self.channels(call.tensor())
        self._record(call, "instancenorm" if isinstance(call.module, INSTANCENORMS) else "batchnorm", vector, vector, 0)
        return spread_channels(vector, call.shape)

    def layernorm(self, call: Call) -> Tensor:
        """Ids pass; the statistics are then those of the channels that stay."""
        x, shape = call.tensor(), cast(nn.LayerNorm, call.module).normalized_shape
        if len(shape) > 1 or self._elsewhere(x):
            if any(self.varies(x, axis) for axis in range(-len(shape), 0)):
                self.protect(x)
            return x
        vector = self.channels(x, -1)
        self._record(call, "layernorm", vector, vector, 0)
        return vector.expand(call.shape)

    def groupnorm(self, call: Call) -> Tensor:
        """Ids pass; corresponding channels of all groups go together, so that groups stay of one size."""
        vector, groups = self.channels(call.tensor()), cast(nn.GroupNorm, call.module).num_groups
        if 1 < groups < len(vector):
            self.couple_along(vector.view(groups, -1), 0)
        self._record(call, "groupnorm", vector, vector, 0)
        return spread_channels(vector, call.shape)

    def prelu(self, call: Call) -> Tensor:
        """Ids pass; slopes may be per channel."""
        x = call.tensor()
        if cast(nn.PReLU, call.module).num_parameters > 1:
            vector = self.channels(x)
            self._record(call, "prelu", vector, vector, 0)
        return x

    def parts(self, call: Call) -> tuple[Tensor, ...]:
        """Ids pass; each part has a width of its own, as if it were a layer."""
        parts = cast(tuple[Tensor, ...], call.native())
        for number, part in enumerate(parts):
            vector = self.channels(part)
            self._record_at(f"{call.node.target}.{number}", "part", vector, vector, 0)
        return parts

    def attention(self, call: Call) -> tuple[Tensor, Tensor]:
        """Attention over positions: its heads stay whole, so that nothing that it reads may go."""
        self.protect(call.tensor())
        return super().attention(call)

    def _elsewhere(self, x: Tensor) -> bool:
        """Whether ids vary, but not along the last axis."""
        return not self.varies(x, -1) and any(self.varies(x, axis) for axis in range(x.dim() - 1))

    def _positions(self, call: Call, axis: int) -> float:
        return call.shape.numel() / call.shape[axis] / self.batch

    def _own_ids(self, call: Call, count: int) -> Tensor:
        """Ids of a layer's outputs, the same ones if the layer is called again."""
        known = self.layers.get(str(call.node.target))
        return torch.from_numpy(self.sets.fresh(count) if known is None else known.outputs)

    def _record(self, call: Call, kind: LayerKind, inputs: Tensor, outputs: Tensor, positions: float) -> None:
        self._record_at(str(call.node.target), kind, inputs, outputs, positions)

    def _record_at(self, path: str, kind: LayerKind, inputs: Tensor, outputs: Tensor, positions: float) -> None:
        known = self.layers.get(path)
        if known is None:
            self.layers[path] = RawLayer(kind, inputs.numpy().copy(), outputs.numpy().copy(), positions)
            return
        self.couple(torch.from_numpy(known.inputs), inputs)
        self.couple(torch.from_numpy(known.outputs), outputs)
        known.positions += positions
