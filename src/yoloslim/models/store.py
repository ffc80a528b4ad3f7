"""The one-file model store: safetensors with the ModelSpec in its metadata. Nothing in it can run."""

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from yoloslim.errors import ModelError, memory_is_scarce, memory_ran_out
from yoloslim.files import atomic_path, with_name_of_its_own
from yoloslim.models.detector import Detector
from yoloslim.models.header import FORMAT, MAX_HEADER, SUFFIX
from yoloslim.models.spec import ModelSpec
from yoloslim.models.zoo import way_to

MAX_PARAMS = 500_000_000
"""Of a network before pruning, which is built first; the largest published YOLO has 290 million."""
LONGEST_SPEC = 2**19
"""Characters of a description: that of YOLOv4 with 1,000 classes has 38,000. Checking 3.6 million takes seconds."""


def model_name(path: Path) -> Path:
    """The path with `.safetensors` behind it if it ends otherwise: commands tell files by their ends.

    Raises:
        YoloslimError: it is `.`, `..` or `/`.
    """
    return path if path.suffix == SUFFIX else with_name_of_its_own(path).with_name(path.name + SUFFIX)


def save_model(model: Detector, path: Path) -> None:
    """Write weights and spec to one `*.safetensors` file, atomically; the same model gives the same bytes.

    Args:
        model: baseline, sparse, pruned or finetuned: all are the same kind of file.
        path: where to.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "spec": model.spec.model_dump_json(),
        "extra": "{}",  # empty ever since; without it every file would change
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(_finished(save(state, metadata)))


def load_model(path: Path) -> Detector:
    """Build the model a file describes and load its weights; in eval mode, on the CPU.

    Whether description and weights agree is known before the network costs any memory, and whether it runs before it
    sees an image.

    Raises:
        ModelError: the file is missing, truncated, damaged, of another format, its weights do not fit its spec or are
            not finite, or the spec asks for more than any detector has.
    """
    metadata, state = _read(path)
    described = metadata.get("spec", "")
    if not 0 < len(described) <= LONGEST_SPEC:
        raise ModelError(
            f"{path}: its description is {len(described):,} characters long, not 1 to {LONGEST_SPEC:,}: it is no "
            "detector's; take the file from where it was made"
        )
    try:
        spec = ModelSpec.model_validate_json(described)
        _compare(spec, state)
        model = Detector(spec).eval()
        model.load_state_dict(state)
        with torch.no_grad():
            model(torch.zeros(0, 3, spec.imgsz, spec.imgsz))  # no image at all: only shapes are tried
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelError(f"{path}: its description is not valid: {where}: {first['msg']}") from error
    except (ValueError, RuntimeError, LookupError, TypeError, AttributeError, ArithmeticError, ModelError) as error:
        if memory_ran_out(error) or memory_is_scarce():
            raise  # the file may be sound
        raise ModelError(f"{path}: weights and description disagree: {error}") from error
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ModelError(f"{path}: tensor '{name}' holds numbers that are not finite; take an earlier model")
    return model


def _compare(spec: ModelSpec, state: dict[str, torch.Tensor]) -> None:
    """Build a network without memory, before pruning and after it, to see that these weights are its own."""
    with torch.device("meta"):
        if spec.widths:
            dense = Detector(spec.model_copy(update={"widths": {}, "removed": (), "biased": ()}))
            count = sum(value.numel() for value in dense.parameters())
            if count > MAX_PARAMS:
                raise ModelError(f"before it was pruned it had {count:.3g} parameters; at most {MAX_PARAMS} are built")
        Detector(spec).load_state_dict(state, assign=True)


def _finished(data: bytes) -> bytes:
    """The same file with a checksum, and its metadata in order: safetensors shuffles them, and DVC would see another
    model."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"]["sha256"] = _digest(header, BytesIO(data[end:]))
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8
    return len(text).to_bytes(8, "little") + text + data[end:]


def _digest(header: dict[str, Any], tensors: BinaryIO) -> str:
    """SHA-256 over the header, without the checksum in it, and what follows the header."""
    metadata = {key: value for key, value in header["__metadata__"].items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps({**header, "__metadata__": metadata}, sort_keys=True).encode())
    while block := tensors.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    if not path.is_file():
        way = way_to(path, "check the name, or run the stage that makes it (`dvc repro`)")
        raise ModelError(f"model file {path} is missing; {way}")
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > MAX_HEADER:
                raise ModelError(f"{path} is not a readable safetensors file: it says that {length} bytes describe it")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a readable safetensors file ({error}); was its copying cut short?") from error
    if metadata.get("format") != FORMAT:
        raise ModelError(f"{path} is not a yoloslim model (format {metadata.get('format')!r}, wanted {FORMAT!r})")
    _check(path, metadata)
    return metadata, state


def _check(path: Path, metadata: dict[str, str]) -> None:
    """Compare a file with its checksum; files that were written before there was one have none."""
    unknown = set(metadata) - {"format", "spec", "extra", "sha256"}
    with path.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        whole = metadata.get("sha256") in (None, _digest(header, stream))
    if unknown or not whole:
        raise ModelError(f"{path} is damaged: it is not what was written (its checksum differs); copy it again")
