"""Checkpoints of unfinished trainings: plain tensors and numbers, read without running anything."""

import logging
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from yoloslim.disk import reserve
from yoloslim.errors import YoloslimError, memory_is_scarce, memory_ran_out
from yoloslim.files import atomic_path
from yoloslim.seals import is_whole, seal

logger = logging.getLogger(__name__)

_WAY_OUT = "make room, or name a folder on a larger disk: train.cache_dir"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and numbers atomically: a kill or a full disk leaves the previous checkpoint.

    Raises:
        YoloslimError: it cannot be written; says what is needed and what is free.
    """
    size = tensor_bytes(state)
    with atomic_path(path, sync=False) as temporary:
        try:
            reserve(temporary, size, _WAY_OUT)
            torch.save(state, temporary)
            seal(temporary)
        except YoloslimError as error:
            raise YoloslimError(f"cannot write checkpoint {path}: {error}. {_kept(path)}") from error
        except (OSError, RuntimeError) as error:  # PyTorch's writer hides the disk's own words
            if memory_ran_out(error) or memory_is_scarce():
                raise YoloslimError(f"cannot write checkpoint {path}: no memory is left. {_kept(path)}") from error
            free = shutil.disk_usage(path.parent).free
            raise YoloslimError(
                f"cannot write checkpoint {path}: {size / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB are free in "
                f"{path.parent}: {_WAY_OUT}. {_kept(path)}"
            ) from error


def tensor_bytes(value: Any) -> int:
    """Bytes of all tensors in nested dictionaries and lists, each counted once."""
    seen: dict[int, int] = {}

    def look(item: Any) -> None:
        if isinstance(item, torch.Tensor):
            storage = item.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        elif isinstance(item, dict):
            for each in item.values():
                look(each)
        elif isinstance(item, (list, tuple)):
            for each in item:
                look(each)

    look(value)
    return sum(seen.values())


def _kept(path: Path) -> str:
    return "The checkpoint before it is kept, and the same command goes on from it" if path.is_file() else ""


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint; None, with a warning, when there is none or it cannot be used."""
    if not path.is_file():
        return None
    try:
        if not is_whole(path):
            raise OSError("it is damaged, or was not written to its end")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        logger.warning("checkpoint %s cannot be read (%s): training starts from the beginning", path, error)
        return None
    return state
