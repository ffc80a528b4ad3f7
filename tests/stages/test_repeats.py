"""The same training with several seeds: which seeds, what is kept, what is told. Nothing is trained here."""

from pathlib import Path
from typing import Any

import pytest

from tests.tiny import tiny_detector
from yoloslim.config import Params, parse_params
from yoloslim.errors import ConfigError
from yoloslim.stages import repeats
from yoloslim.stages.training import Training

PARAMS = parse_params({"seed": 5, "finetune": {"repeats": 3}})


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[int, int, bool]]:
    """Seed, number and whether MLflow follows, of every training."""
    found: list[tuple[int, int, bool]] = []

    def train(params: Params, training: Training, model: object, more: object) -> Path:
        checkpoint = tmp_path / f"{params.seed}.pt"
        assert all((tmp_path / f"{seed}.pt").is_file() for seed, *_ in found)  # what is done costs nothing again
        checkpoint.touch()
        found.append((params.seed, training.repeat, params.tracking.enabled))
        return checkpoint

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(repeats, "train_resumable", train)
    return found


def test_seeds_count_up_and_only_the_first_is_followed(trained: list[Any], tmp_path: Path) -> None:
    begun: list[int] = []

    def begin() -> tuple[Training, Any]:
        begun.append(len(begun))
        return Training("finetune/50", PARAMS.finetune), tiny_detector()

    stale = tmp_path / "models" / "finetune" / "50" / "repeats" / "99.safetensors"
    stale.parent.mkdir(parents=True)
    stale.touch()
    repeats.train_repeats(PARAMS, begin, 3)
    assert trained == [(5, 0, True), (6, 1, False), (7, 2, False)]
    assert begun == [0, 1, 2]
    assert not stale.exists()
    assert not list(tmp_path.glob("*.pt"))


def test_no_training_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"finetune\.repeats.*0.*1"):
        parse_params({"finetune": {"repeats": 0}})
