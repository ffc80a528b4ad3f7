"""What can be built, measured without weights: sizes, costs and prunable shares of all architectures."""

from dataclasses import dataclass

import torch
from torch import nn

from yoloslim.models.detector import build_detector, count_macs, count_params
from yoloslim.models.spec import round_up
from yoloslim.models.zoo import family_of
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.selection import candidate_groups

IMGSZ = 640
"""Image side in pixels that FLOPs are counted at."""


@dataclass(frozen=True)
class ModelFacts:
    """One model.

    Attributes:
        name: for `model:` in params.yaml.
        source: where it comes from.
        params_m: millions of parameters, biases and BatchNorm scales and shifts included.
        gflops: 2 * MACs / 1e9 of the convolutions at 640 px.
        convolutions: how many layers multiply.
        strides: image pixels per cell, by head.
        prunable: share in [0, 1] of the channels of all BatchNorms that scope `free` may remove; `coupled` may all.
        units: residual units that can be removed whole.
    """

    name: str
    source: str
    params_m: float
    gflops: float
    convolutions: int
    strides: tuple[int, ...]
    prunable: float
    units: int


def model_facts(name: str, classes: int = 80) -> ModelFacts:
    """Measure a model of so many classes; nothing is computed and no memory taken for weights.

    Raises:
        ModelError: no such model.
    """
    family = family_of(name)
    with torch.device("meta"):
        model = build_detector(name, tuple(map(str, range(classes))), round_up(IMGSZ, max(family.head.strides)))
    coupling = find_coupling(model)
    channels = [group for path in coupling.batchnorms for group in coupling.layers[path].outputs]
    return ModelFacts(
        name=name,
        source=family.source,
        params_m=count_params(model) / 1e6,
        gflops=2e-9 * count_macs(model, IMGSZ),
        convolutions=sum(isinstance(module, nn.Conv2d) for module in model.modules()),
        strides=family.head.strides,
        prunable=float(candidate_groups(coupling, "free")[channels].mean()),
        units=sum(unit.container is not None and unit.gate is not None for unit in coupling.units),
    )
