"""The library's front door: what `import yoloslim` offers. Each name is a thin way to the function that stages use."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

import torch
from torch import Tensor, nn

from yoloslim.deploy.export import export_model
from yoloslim.deploy.manifest import Manifest
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.errors import PruneError
from yoloslim.models.detector import Detector, build_detector
from yoloslim.models.store import load_model
from yoloslim.pruning.prune import PruneResult
from yoloslim.pruning.prune import prune as prune_network
from yoloslim.pruning.request import GroupScore, Importance, PruneRequest, Scope

M = TypeVar("M", bound=nn.Module)


class PruneOptions(TypedDict, total=False):
    """Fields of `PruneRequest`, which states what each means, its range and its default."""

    percent: float
    target_params_m: float
    target_gflops: float
    target_latency_ms: float
    scope: Scope
    importance: Importance
    group_score: GroupScore
    min_channels: int
    layer_keep: float
    round_to: int
    cost_power: float
    residual_units: int
    fold: bool
    imgsz: int
    seed: int


def load(path: str | PathLike[str]) -> Detector:
    """A stored model (.safetensors); nothing in the file is run.

    Raises:
        ModelError: it is no model file of ours.
    """
    return load_model(Path(path))


def build(name: str, classes: tuple[str, ...], imgsz: int = 640) -> Detector:
    """A freshly initialised detector such as `yolov5n`; `yoloslim models` lists the names.

    Raises:
        ModelError: no such model.
    """
    return build_detector(name, tuple(classes), imgsz)


def export(
    model: Detector, out: str | PathLike[str], file_format: str = "onnx", options: ExportOptions | None = None
) -> Manifest:
    """Write a detector for a runtime into a folder, compared with PyTorch, with its manifest.

    Raises:
        DeployError: the graph cannot be written, or computes something else.
    """
    return export_model(model, Path(out), options or ExportOptions(), file_format)


def prune(
    model: M,
    example_inputs: Tensor | None = None,
    *,
    measure_ms: Callable[[nn.Module], float] | None = None,
    **options: Unpack[PruneOptions],
) -> PruneResult[M]:
    """Cut channels out of a network; the input is unchanged.

    Args:
        model: a detector, or any network on images that torch.fx can trace and whose operations are known.
        example_inputs: an input (N, C, H, W) the network accepts, with any number of channels. Detectors need none.
        measure_ms: milliseconds of a cut network on the target, for `target_latency_ms`.
        options: fields of `PruneRequest`. What differs from its defaults where nothing is said: scope `coupled`;
            importance `l2` for a network in which not every convolution has a BatchNorm scale to go by; FLOPs
            counted at the side of the example, or at a detector's own.

    Returns:
        `model` the new network, `certificate` (cut against masked, largest differences), `report` (plain values).

    Raises:
        TraceError: the forward depends on values, or an operation is not understood; the node is named.
        PruneError: an option is unknown or out of range, nothing can be pruned, or the certificate fails.
    """
    unknown = sorted(set(options) - set(PruneOptions.__annotations__))
    if unknown:
        raise PruneError(
            f"prune has no option '{unknown[0]}'; there are: {', '.join(sorted(PruneOptions.__annotations__))}"
        )
    if example_inputs is None and not isinstance(model, Detector):
        raise PruneError(f"a {type(model).__name__} needs example_inputs: a tensor (N, C, H, W) that it accepts")
    if example_inputs is not None and example_inputs.dim() != 4:
        raise PruneError(f"example_inputs has shape {tuple(example_inputs.shape)}; allowed: (N, C, H, W)")
    if example_inputs is not None and not bool(torch.isfinite(example_inputs).all()):
        raise PruneError("example_inputs holds NaN or infinite values")
    example = (2, 3, 64, 64) if example_inputs is None else (2, *example_inputs.shape[1:])
    side = model.spec.imgsz if isinstance(model, Detector) else max(32, int((example[2] * example[3]) ** 0.5))
    chosen: dict[str, Any] = {"scope": "coupled", "importance": _importance(model), "imgsz": side, **options}
    request = PruneRequest(**chosen)
    result = prune_network(model, request, example_inputs, measure_ms=measure_ms, example=example)
    result.report["importance"] = request.importance
    return result


def _importance(model: nn.Module) -> Importance:
    """`gamma` for detectors and wherever there are as many scales as convolutions with prunable outputs."""
    norms = sum(isinstance(m, nn.BatchNorm2d) and m.affine for m in model.modules())
    convolutions = sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in model.modules())
    return "gamma" if isinstance(model, Detector) or norms >= max(1, convolutions - 1) else "l2"
