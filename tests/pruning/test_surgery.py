"""The proof obligations: what is cut computes what is masked, on any network and for any set of channels."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.pruning.networks import NETWORKS, randomise
from tests.pruning.random_network import ACTIVATIONS, SHIFTED, RandomNetwork
from torch import Tensor, nn

from yoloslim.pruning.coupling import BoolArray, Coupling, find_coupling
from yoloslim.pruning.folding import fold_constants
from yoloslim.pruning.inputs import tensors_in
from yoloslim.pruning.masking import mask
from yoloslim.pruning.minimums import raise_to_minimum
from yoloslim.pruning.surgery import cut

EXAMPLE = (2, 3, 16, 16)


def random_keep(coupling: Coupling, share: float, seed: int) -> BoolArray:
    """A random mask that removes about `share` of what may go, and leaves every layer something."""
    rng = np.random.default_rng(seed)
    keep = coupling.protected | (rng.random(coupling.groups) >= share)
    return raise_to_minimum(coupling, keep, rng.random(coupling.groups).astype(np.float32), 1, 0.0)[0]


def largest_difference(a: nn.Module, b: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        pairs = zip(tensors_in((a(x),)), tensors_in((b(x),)), strict=True)
        return max(float((p - q).abs().max()) for p, q in pairs)


def largest_output(model: nn.Module) -> float:
    with torch.no_grad():
        return max(1.0, *(float(y.abs().max()) for y in tensors_in((model(images()),))))


def repeat_borders(model: nn.Module) -> nn.Module:
    """Pad convolutions by repetition, so that constants do not end at the border."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = "replicate"
    return model


def images(seed: int = 0, size: int = 16) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("name", NETWORKS)
def test_keeping_everything_changes_nothing(name: str) -> None:
    model = randomise(NETWORKS[name]())
    coupling = find_coupling(model, EXAMPLE)
    everything = np.ones(coupling.groups, np.bool_)
    assert largest_difference(model, cut(model, coupling, everything), images()) == 0
    assert largest_difference(model, cut(model, coupling, everything, fold=True), images()) == 0


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("name", NETWORKS)
def test_cut_model_equals_masked_model(name: str, share: float) -> None:
    model = randomise(NETWORKS[name]())
    coupling = find_coupling(model, EXAMPLE)
    keep = random_keep(coupling, share, seed=1)
    assert not keep.all()
    small = cut(model, coupling, keep)
    assert largest_difference(mask(model, coupling, keep), small, images()) < 1e-10
    assert largest_difference(model, small, images()) > 1e-3, "the mask removed nothing that matters"


@pytest.mark.parametrize("share", [0.4, 1.0])
@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"Shared"}))
def test_folded_cut_model_equals_model_with_frozen_channels(name: str, share: float) -> None:
    model = repeat_borders(randomise(NETWORKS[name]()))
    coupling = find_coupling(model, EXAMPLE)
    keep = random_keep(coupling, share, seed=2)
    frozen = mask(model, coupling, keep, freeze=True)
    folded = cut(model, coupling, keep, fold=True)
    assert largest_difference(frozen, folded, images()) < 1e-10
    assert largest_difference(frozen, cut(model, coupling, keep), images()) > 1e-3, "there was nothing to fold"


def test_layers_called_with_several_constants_are_named_and_get_their_mean() -> None:
    model = repeat_borders(randomise(NETWORKS["Shared"]()))
    coupling = find_coupling(model, EXAMPLE)
    keep = random_keep(coupling, 0.4, seed=2)
    assert fold_constants(copy.deepcopy(model), coupling, keep) == ["block.conv", "tower.conv"]
    frozen, x = mask(model, coupling, keep, freeze=True), images()
    folded, plain = (largest_difference(frozen, cut(model, coupling, keep, fold=f), x) for f in (True, False))
    assert folded < plain


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 14), st.floats(0, 1))
def test_random_networks_cut_as_masked(seed: int, steps: int, share: float) -> None:
    model = randomise(RandomNetwork(seed, steps, ACTIVATIONS), seed)
    coupling = find_coupling(model, EXAMPLE)
    keep = random_keep(coupling, share, seed)
    masked, small = mask(model, coupling, keep), cut(model, coupling, keep)
    assert largest_difference(masked, small, images()) < 1e-11 * largest_output(masked)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 14), st.floats(0, 1))
def test_random_networks_fold_as_frozen(seed: int, steps: int, share: float) -> None:
    model = repeat_borders(randomise(RandomNetwork(seed, steps, SHIFTED), seed))
    coupling = find_coupling(model, EXAMPLE)
    keep = random_keep(coupling, share, seed)
    assume(not fold_constants(copy.deepcopy(model), coupling, keep))
    frozen, folded = mask(model, coupling, keep, freeze=True), cut(model, coupling, keep, fold=True)
    assert largest_difference(frozen, folded, images()) < 1e-11 * largest_output(frozen)
