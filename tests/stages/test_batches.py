"""What BatchNorm statistics are re-estimated on."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny import tiny_train_set
from yoloslim.config import Params, parse_params
from yoloslim.data.augment import Augmentation, Augmenter
from yoloslim.stages import batches
from yoloslim.stages.batches import statistics_images

PLAIN = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), np.uint8)
IMAGES = tiny_train_set(count=8)


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training set, as training and as evaluation see it."""
    monkeypatch.setattr(batches, "train_set", lambda _: IMAGES)
    monkeypatch.setattr(batches, "training_sample", lambda _, count: PLAIN[:count])


def params_of(**train: Any) -> Params:
    return parse_params({"imgsz": 64, "train": {"scale": 0.5, **train}})


def test_without_mosaics_images_are_plain() -> None:
    for params in (params_of(mosaic=0.0), params_of(mosaic=1.0, close_mosaic=2)):
        (seen,) = statistics_images(params, 2)()
        assert torch.equal(seen, torch.from_numpy(PLAIN[:2]).permute(0, 3, 1, 2).float() / 255)


def test_where_training_composes_mosaics_they_are_what_statistics_are_of() -> None:
    params = params_of(mosaic=1.0)
    again = statistics_images(params, 6)
    (first,), (second,) = again(), again()
    assert first.shape == (6, 3, 64, 64)
    assert torch.equal(first, second)
    rng = torch.Generator().manual_seed(params.seed)
    chosen = torch.randperm(8, generator=rng)[:6]
    expected = Augmenter(IMAGES, Augmentation.of(params.train), torch.device("cpu")).batch(chosen, rng).images
    assert torch.equal(first, expected)


def test_a_training_set_at_hand_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "train_set", lambda _: pytest.fail("read again"))
    (seen,) = statistics_images(params_of(mosaic=1.0), 4, IMAGES)()
    assert len(seen) == 4
