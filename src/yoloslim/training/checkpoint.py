"""Checkpoints of unfinished trainings: plain tensors and numbers, read without running anything."""

import logging
import pickle
from pathlib import Path
from typing import Any

import torch

from yoloslim.files import atomic_path

logger = logging.getLogger(__name__)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and numbers atomically: a kill leaves the previous checkpoint."""
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint; None, with a warning, when there is none or it cannot be used."""
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        logger.warning("checkpoint %s cannot be read (%s): training starts from the beginning", path, error)
        return None
    return state
