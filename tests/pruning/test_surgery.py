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

from yoloslim.pruning.folding import fold_constants
from yoloslim.pruning.inputs import tensors_in
from yoloslim.pruning.labels import BoolArray, ChannelLabels, label_channels
from yoloslim.pruning.masking import mask
from yoloslim.pruning.minimums import raise_to_minimum
from yoloslim.pruning.surgery import cut

EXAMPLE = (2, 3, 16, 16)


def random_keep(labels: ChannelLabels, share: float, seed: int) -> BoolArray:
    """A random mask that removes about `share` of what may go, and leaves every layer something."""
    rng = np.random.default_rng(seed)
    keep = labels.protected | (rng.random(labels.groups) >= share)
    return raise_to_minimum(labels, keep, rng.random(labels.groups).astype(np.float32), 1, 0.0)[0]


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
    labels = label_channels(model, EXAMPLE)
    everything = np.ones(labels.groups, np.bool_)
    assert largest_difference(model, cut(model, labels, everything), images()) == 0
    assert largest_difference(model, cut(model, labels, everything, fold=True), images()) == 0


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("name", NETWORKS)
def test_cut_model_equals_masked_model(name: str, share: float) -> None:
    model = randomise(NETWORKS[name]())
    labels = label_channels(model, EXAMPLE)
    keep = random_keep(labels, share, seed=1)
    assert not keep.all()
    small = cut(model, labels, keep)
    assert largest_difference(mask(model, labels, keep), small, images()) < 1e-10
    assert largest_difference(model, small, images()) > 1e-3, "the mask removed nothing that matters"


@pytest.mark.parametrize("share", [0.4, 1.0])
@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"Shared"}))
def test_folded_cut_model_equals_model_with_frozen_channels(name: str, share: float) -> None:
    model = repeat_borders(randomise(NETWORKS[name]()))
    labels = label_channels(model, EXAMPLE)
    keep = random_keep(labels, share, seed=2)
    frozen = mask(model, labels, keep, freeze=True)
    folded = cut(model, labels, keep, fold=True)
    assert largest_difference(frozen, folded, images()) < 1e-10
    assert largest_difference(frozen, cut(model, labels, keep), images()) > 1e-3, "there was nothing to fold"


def test_layers_called_with_several_constants_are_named_and_get_their_mean() -> None:
    model = repeat_borders(randomise(NETWORKS["Shared"]()))
    labels = label_channels(model, EXAMPLE)
    keep = random_keep(labels, 0.4, seed=2)
    assert fold_constants(copy.deepcopy(model), labels, keep) == ["block.conv", "tower.conv"]
    frozen, x = mask(model, labels, keep, freeze=True), images()
    folded, plain = (largest_difference(frozen, cut(model, labels, keep, fold=f), x) for f in (True, False))
    assert folded < plain


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 14), st.floats(0, 1))
def test_random_networks_cut_as_masked(seed: int, steps: int, share: float) -> None:
    model = randomise(RandomNetwork(seed, steps, ACTIVATIONS), seed)
    labels = label_channels(model, EXAMPLE)
    keep = random_keep(labels, share, seed)
    masked, small = mask(model, labels, keep), cut(model, labels, keep)
    assert largest_difference(masked, small, images()) < 1e-11 * largest_output(masked)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 14), st.floats(0, 1))
def test_random_networks_fold_as_frozen(seed: int, steps: int, share: float) -> None:
    model = repeat_borders(randomise(RandomNetwork(seed, steps, SHIFTED), seed))
    labels = label_channels(model, EXAMPLE)
    keep = random_keep(labels, share, seed)
    assume(not fold_constants(copy.deepcopy(model), labels, keep))
    frozen, folded = mask(model, labels, keep, freeze=True), cut(model, labels, keep, fold=True)
    assert largest_difference(frozen, folded, images()) < 1e-11 * largest_output(frozen)
