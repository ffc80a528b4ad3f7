"""The one-file model store: safetensors with the ModelSpec in its metadata. Nothing in it can run."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from yoloslim.errors import ModelError
from yoloslim.files import atomic_path
from yoloslim.models.detector import Detector
from yoloslim.models.spec import ModelSpec

FORMAT = "yoloslim-1"


def save_model(model: Detector, path: Path, extra: dict[str, Any] | None = None) -> None:
    """Write weights and spec to one `*.safetensors` file, atomically; the same model gives the same bytes.

    Args:
        model: baseline, sparse, pruned or finetuned: all are the same kind of file.
        path: where to.
        extra: further JSON values for people and tools to read (not needed to load).
    """
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "spec": model.spec.model_dump_json(),
        "extra": json.dumps(extra or {}, sort_keys=True),
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(_with_sorted_metadata(save(state, metadata)))


def load_model(path: Path) -> Detector:
    """Build the model a file describes and load its weights; in eval mode, on the CPU.

    Raises:
        ModelError: the file is missing, truncated, of another format, or its weights do not fit its spec.
    """
    metadata, state = _read(path)
    try:
        spec = ModelSpec.model_validate_json(metadata["spec"])
        with torch.device("meta"):  # whether they agree is known before a stranger's description costs any memory
            Detector(spec).load_state_dict(state, assign=True)
        model = Detector(spec)
        model.load_state_dict(state)
    except (ValueError, RuntimeError, KeyError, ModelError) as error:
        raise ModelError(f"{path}: weights and description disagree: {error}") from error
    return model.eval()


def read_extra(path: Path) -> dict[str, Any]:
    """The `extra` values stored with a model."""
    return json.loads(_read(path)[0].get("extra", "{}"))  # type: ignore[no-any-return]


def _with_sorted_metadata(data: bytes) -> bytes:
    """The same file with its metadata in order: safetensors shuffles them, and DVC would see another model."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8
    return len(text).to_bytes(8, "little") + text + data[end:]


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise ModelError(f"model file {path} is missing; run the stage that makes it (`dvc repro`)")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a readable safetensors file ({error}); was its copying cut short?") from error
    if metadata.get("format") != FORMAT:
        raise ModelError(f"{path} is not a yoloslim model (format {metadata.get('format')!r}, wanted {FORMAT!r})")
    return metadata, state
