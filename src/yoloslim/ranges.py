"""The ranges of activations that quantisation-aware finetuning leaves beside a model, for its export."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from yoloslim.errors import ModelError
from yoloslim.files import read_json, sha256_file, write_json

FILE = "ranges.json"
ConvRange = tuple[float, float, float, float]
"""Least and largest value that a convolution reads, and that it gives, its BatchNorm included: what 8 bits cover."""

FEW = 16
"""Calibration images below which that is said: those may not show the largest values that the model will meet."""


def few_images(count: int) -> str:
    """What must be said of int8 calibrated on so many images, from 1; empty of enough."""
    images = "1 image" if count == 1 else f"{count} images"
    return f"calibrated on {images}: ranges may be too narrow; a hundred are enough" if count < FEW else ""


class _Ranges(BaseModel):
    """The file: which model they are of, and ranges by path of the convolution."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_sha256: str
    ranges: dict[str, ConvRange]


def save(ranges: dict[str, ConvRange], model: Path) -> None:
    """Write them beside a model file, for this file alone."""
    write_json(model.parent / FILE, {"model_sha256": sha256_file(model), "ranges": ranges})


def load(model: Path) -> dict[str, ConvRange]:
    """What `save` wrote for a model file; empty for one that no training has quantised, and for another beside it.

    Raises:
        ModelError: the file is damaged.
    """
    path = model.parent / FILE
    if not path.is_file():
        return {}
    try:
        found = _Ranges.model_validate(read_json(path))
    except ValidationError as error:
        raise ModelError(f"{path} is damaged ({error.errors()[0]['msg']}); run stage finetune again") from error
    return found.ranges if found.model_sha256 == sha256_file(model) else {}
