from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.test_fit import Fuse, task
from yoloslim.training.fit import Callback, State, fit
from yoloslim.training.preview import SIDE, Preview


class Seen(Callback):
    """Everything that went into the network."""

    def __init__(self) -> None:
        self.images: list[torch.Tensor] = []
        self.targets: list[torch.Tensor] = []

    def after_step(self, state: State) -> None:
        self.images.append(state.images.clone())
        self.targets.append(state.targets.clone())


def stored(preview: Preview, path: Path) -> dict[str, Any]:
    preview.write(path)
    with np.load(path) as arrays:
        return dict(arrays)


def test_first_images_of_the_first_batches_are_kept_with_their_boxes(tmp_path: Path) -> None:
    seen, preview = Seen(), Preview(batches=2, images=2)
    fit(task(2, callbacks=(seen, preview)))
    found = stored(preview, tmp_path / "b.npz")
    assert found["batch"].tolist() == [0, 0, 1, 1]
    whole = torch.cat([batch[:2] for batch in seen.images[:2]]).permute(0, 2, 3, 1) * 255
    assert np.abs(found["images"] - whole.numpy()).max() <= 0.5
    for number, (batch, index) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        rows = seen.targets[batch][seen.targets[batch][:, 0] == index]
        assert np.array_equal(found["boxes"][found["boxes"][:, 0] == number][:, 1:], rows[:, 1:].numpy())
    assert len(found["boxes"]) > 0


def test_resumed_training_shows_the_same(tmp_path: Path) -> None:
    whole = Preview()
    fit(task(3, callbacks=(whole, Callback())))
    with pytest.raises(KeyboardInterrupt):
        fit(task(3, checkpoint=tmp_path / "x.pt", callbacks=(Preview(), Fuse(5))))
    again = Preview()
    fit(task(3, checkpoint=tmp_path / "x.pt", callbacks=(again, Callback())))
    one, other = stored(whole, tmp_path / "1.npz"), stored(again, tmp_path / "2.npz")
    assert all(np.array_equal(one[name], other[name]) for name in ("images", "boxes", "batch"))


def test_large_images_are_made_smaller() -> None:
    preview = Preview()
    state = State(None, None, 1, images=torch.full((2, 3, 640, 640), 0.5))  # type: ignore[arg-type]
    preview.after_step(state)
    assert preview.pictures[0].shape == (2, SIDE, SIDE, 3)
    assert preview.pictures[0].unique().tolist() == [128]


def test_nothing_is_written_before_the_first_step(tmp_path: Path) -> None:
    Preview().write(tmp_path / "b.npz")
    assert not (tmp_path / "b.npz").exists()
