"""Single layers compute in every runtime what PyTorch does, so that it is the layer that is timed."""

import numpy as np
import pytest
import torch
from torch import nn

from yoloslim.choices import LatencyRuntime
from yoloslim.deploy.layer_calls import LAYER_RUNTIMES, open_layers


def first(found: object) -> np.ndarray:
    """The only output of whatever a runtime gives."""
    if isinstance(found, torch.Tensor | np.ndarray):
        return np.asarray(found)
    return np.asarray(found[0] if isinstance(found, list) else next(iter(found.values())))  # type: ignore[attr-defined]


@pytest.mark.parametrize("runtime", LAYER_RUNTIMES)
@pytest.mark.parametrize(
    ("layer", "activated"),
    [
        (nn.Conv2d(3, 16, 6, 2, 2), True),
        (nn.Conv2d(16, 24, 3, 2, 1, bias=False), False),
        (nn.Conv2d(16, 16, 3, 1, 1, groups=16), True),
    ],
    ids=["stem", "plain", "depthwise"],
)
def test_a_layer_computes_what_pytorch_does(runtime: LatencyRuntime, layer: nn.Conv2d, activated: bool) -> None:
    x = torch.rand(1, layer.in_channels, 20, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = (nn.functional.silu(layer(x)) if activated else layer(x))[0].numpy()
    found = first(open_layers([layer], x, runtime, 1, activated)())
    if runtime == "litert":  # which has channels last
        wanted = wanted.transpose(1, 2, 0)
    assert np.abs(found.reshape(wanted.shape) - wanted).max() < 1e-5


@pytest.mark.parametrize("runtime", LAYER_RUNTIMES)
def test_layers_run_in_a_row(runtime: LatencyRuntime) -> None:
    layers = [nn.Conv2d(4, 8, 1), nn.Conv2d(8, 5, 3, padding=1)]
    assert first(open_layers(layers, torch.rand(1, 4, 6, 6), runtime, 1)()).size == 5 * 6 * 6


@pytest.mark.parametrize("runtime", LAYER_RUNTIMES)
def test_what_a_layer_reads_stays_while_its_call_does(runtime: LatencyRuntime) -> None:
    call = open_layers([nn.Conv2d(4, 8, 1)], torch.full((1, 4, 256, 256), 0.5), runtime, 1)
    before = first(call()).copy()
    torch.full((1, 4, 256, 256), 9.0)  # where the input was, if nothing kept it
    assert (first(call()) == before).all()
