"""Heat maps against features computed by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny import shake_norms, tiny_detector
from yoloslim.report.features import features, heat_maps


def test_map_is_the_strength_of_what_the_head_reads() -> None:
    model = tiny_detector().eval()
    shake_norms(model)
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    maps = heat_maps(model, image)
    assert [heat.shape for heat in maps] == [(8, 8), (4, 4), (2, 2)]
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        for layer in model.model[:4]:
            x = layer(x)
    strength = x[0].square().mean(0).sqrt().numpy()
    expected = (strength - strength.min()) / (strength.max() - strength.min())
    assert maps[0] == pytest.approx(expected, abs=1e-6)


def test_flat_features_are_dark_and_the_model_is_left_as_it_was() -> None:
    model = tiny_detector().train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.zeros_(module.weight)
    assert all((heat == 0).all() for heat in heat_maps(model, np.zeros((64, 64, 3), np.uint8)))
    assert model.training
    assert not model.model[-1]._forward_pre_hooks


def test_picture_takes_images_of_any_size(tmp_path: Path) -> None:
    images = [np.zeros((30, 50, 3), np.uint8), np.zeros((90, 20, 3), np.uint8)]
    features([("a", tiny_detector()), ("b", tiny_detector())], images, tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
