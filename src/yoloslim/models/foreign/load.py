"""Read weights of any program into a Detector; the kind of file is told by its first bytes."""

import logging
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from yoloslim.errors import ModelError, WeightsError
from yoloslim.models.detector import Detector
from yoloslim.models.foreign.adapt import read_names_file
from yoloslim.models.foreign.checkpoint import Checkpoint, read_safetensors, read_torch_checkpoint
from yoloslim.models.foreign.darknet.cfg import read_cfg
from yoloslim.models.foreign.darknet.class_names import names_near
from yoloslim.models.foreign.darknet.spec import spec_from_cfg
from yoloslim.models.foreign.darknet.weights import PRETRAINED, check_count, count_floats, fill, read_floats
from yoloslim.models.foreign.families import family_of
from yoloslim.models.foreign.match import detector_from
from yoloslim.models.header import FORMAT
from yoloslim.models.spec import ModelSpec
from yoloslim.models.store import load_model
from yoloslim.models.zoo import build_spec, model_names, way_to
from yoloslim.runner.instead import BEGINNING, instead

logger = logging.getLogger(__name__)

GRAPHS = (".onnx", ".om", ".xml", ".param", ".engine", ".tflite", ".torchscript")
"""Suffixes of compiled or exported graphs, which hold no weights by layer."""

COCO_CLASSES = 80
"""What public Darknet weights know, where no cfg tells."""


def read_model(path: Path) -> Detector:
    """A model file of ours, or one of another program, which is imported on the way and said so; in eval mode.

    Raises:
        ModelError: it is missing or broken, or no file with weights.
        WeightsError: a file of another program that cannot be imported; see `import_model`.
    """
    if path.suffix in GRAPHS or path.is_dir():
        inside = next(iter(sorted(path.glob("*.safetensors"))), None)
        way = f"give {inside} in it" if inside else "give the model file that it was made from"
        raise ModelError(
            f"{path} is {'a folder' if path.is_dir() else 'an exported graph'}; {way} (.safetensors, .pt, .weights). "
            "`yoloslim detect`, `speed` and `eval` run graphs as they are"
        )
    file = path.with_suffix(".weights") if path.suffix == ".cfg" else path
    if not file.is_file() or _is_ours(file):
        return load_model(file)
    model = import_model(file)
    spec = model.spec
    logger.info("%s: imported as %s, %d classes, %d px", file, spec.name, spec.nc, spec.imgsz)
    return model


def import_model(
    path: Path,
    model: str | None = None,
    classes: tuple[str, ...] | None = None,
    cfg: Path | None = None,
    partial: bool = False,
    imgsz: int | None = None,
) -> Detector:
    """Build the model that a file holds the weights of, in eval mode.

    Args:
        path: `.pt` or `.pth` of YOLOv5 v5.0 to v7.0, a state dict in either or in safetensors, our own model file, or
            Darknet `.weights`.
        model: the architecture; None finds it. Darknet weights without a cfg need it. Our own files know theirs.
        classes: names for a file that has none, used if their number is right; see `with_classes` for others.
        cfg: of Darknet weights; None takes the one beside them, if there is one.
        partial: whether Darknet weights may end early, as files named `*.conv.N` may anyway.
        imgsz: side of the images that it learnt at, px, where the file does not tell; None assumes the usual one.

    Raises:
        WeightsError: damaged, hostile, of another task, or not fitting; names the file.
        ModelError: no architecture of that name, or a model file of ours that is broken.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "missing"
        raise WeightsError(f"weights file {path} is {what}; {way_to(path, 'check the name')}")
    try:
        kind = _kind(path)
        if kind == "darknet":
            return _darknet(path, model, classes, cfg, partial)
        if kind == "yoloslim":
            return load_model(path)
        checkpoint: Checkpoint = read_safetensors(path) if kind == "safetensors" else read_torch_checkpoint(path)
        known = checkpoint if checkpoint.imgsz else replace(checkpoint, imgsz=imgsz)
        return _detector(known, model, classes)
    except WeightsError as error:
        message = str(error)
        raise WeightsError(message if message.startswith(str(path.parent)) else f"{path}: {message}") from error


def _detector(checkpoint: Checkpoint, model: str | None, classes: tuple[str, ...] | None) -> Detector:
    """What a checkpoint is of; one that does not fit is named for what it is, where that can be told."""
    try:
        return detector_from(checkpoint, model, classes)
    except WeightsError as error:
        family = family_of({record.kind.name for record in checkpoint.modules.values()}, checkpoint.state)
        if family is None:
            raise
        raise WeightsError(f"it is {family.name}, which cannot be imported; {family.way} ({error})") from error


def _kind(path: Path) -> str:
    with path.open("rb") as stream:
        start = stream.read(BEGINNING)
    if other := instead(start):
        raise WeightsError(f"it is {other}")
    if start.startswith(b"PK\x03\x04") or (start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        return "torch"
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return "yoloslim" if _is_ours(path) else "safetensors"
    if path.suffix == ".weights" or PRETRAINED.search(path.name):
        return "darknet"
    if path.suffix in (".pt", ".pth", ".safetensors"):
        raise WeightsError(f"it is no {path.suffix} file, or its beginning is damaged")
    raise WeightsError("its kind is not known; .pt, .pth, .safetensors, .weights and .cfg can be read")


def _is_ours(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return bool((file.metadata() or {}).get("format") == FORMAT)
    except (SafetensorError, OSError):
        return False


def _darknet(
    path: Path, model: str | None, classes: tuple[str, ...] | None, cfg: Path | None, partial: bool
) -> Detector:
    beside = path.with_suffix(".cfg")
    cfg = cfg or (beside if beside.is_file() else None)
    partial = partial or bool(PRETRAINED.search(path.name))
    values = read_floats(path)
    if cfg:
        candidates = [_spec_of(cfg, classes)]
        name = candidates[0].name
        if model and model != name and name in model_names():
            raise WeightsError(f"{cfg} describes {name}, not {model}")
    elif model:
        counts = [classes] if classes else []
        candidates = [build_spec(model, names) for names in (*counts, _numbered(COCO_CLASSES))]
    else:
        raise WeightsError(f"Darknet weights do not tell their network: put {beside.name} beside them, or name a model")
    with torch.device("meta"):
        networks = [Detector(spec) for spec in candidates]
    network = next((each for each in networks if count_floats(each) == len(values)), networks[0])
    check_count(network, values, partial)
    network = Detector(network.spec)
    fill(network, values, path.name)
    return network.eval()


def _spec_of(cfg: Path, classes: tuple[str, ...] | None) -> ModelSpec:
    """The network of a cfg, with the names that stand beside it, or those given if their number is right."""
    sections = read_cfg(cfg)
    try:
        names = cfg.with_suffix(".names")
        if names.is_file():
            return spec_from_cfg(sections, tuple(read_names_file(names)), cfg.stem)
        spec = spec_from_cfg(sections, None, cfg.stem)
        if not classes or len(classes) != spec.nc:
            classes = names_near(cfg, spec.nc)
        return spec.model_copy(update={"classes": classes}) if classes else spec
    except WeightsError as error:
        raise WeightsError(f"{cfg}: {error}") from error


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"class{i}" for i in range(count))
