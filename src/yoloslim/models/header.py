"""What a model file says of itself in its first bytes: read in a moment, without PyTorch and without a weight."""

from pathlib import Path

from pydantic import ValidationError

from yoloslim.documents import parse_json
from yoloslim.errors import ModelError, YoloslimError
from yoloslim.models.spec import ModelSpec

FORMAT = "yoloslim-1"
SUFFIX = ".safetensors"
MAX_HEADER = 16 << 20
"""Bytes of a file's description; those of our largest networks have some hundred thousand."""


def described(path: Path) -> ModelSpec | None:
    """The model that a file of ours holds; None of a file of another program. Whether its weights fit is not asked.

    Raises:
        ModelError: it ends in .safetensors and is none, or what it describes is no model.
    """
    if path.suffix != SUFFIX:
        return None
    try:
        with path.open("rb") as stream:
            header = stream.read(min(int.from_bytes(stream.read(8), "little"), MAX_HEADER))
        metadata = parse_json(header.decode(), str(path), ModelError).get("__metadata__", {})
        return ModelSpec.model_validate_json(metadata["spec"]) if metadata.get("format") == FORMAT else None
    except (YoloslimError, ValidationError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is not a readable model file; was its copying cut short?") from error
