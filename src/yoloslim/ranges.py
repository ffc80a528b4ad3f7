"""The ranges of activations that quantisation-aware finetuning leaves beside a model, for its export."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from yoloslim.errors import ModelError
from yoloslim.files import read_json, write_json

FILE = "ranges.json"
ConvRange = tuple[float, float, float, float]
"""Least and largest value that a convolution reads, and that it gives, its BatchNorm included: what 8 bits cover."""


def save(ranges: dict[str, ConvRange], folder: Path) -> None:
    """Write them beside the model of a folder."""
    write_json(folder / FILE, ranges)


def load(folder: Path) -> dict[str, ConvRange]:
    """What `save` wrote; empty for a model that no training has quantised.

    Raises:
        ModelError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        return TypeAdapter(dict[str, ConvRange]).validate_python(read_json(path))
    except ValidationError as error:
        raise ModelError(f"{path} is damaged ({error.errors()[0]['msg']}); run stage finetune again") from error
