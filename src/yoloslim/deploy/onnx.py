"""A Detector as an ONNX graph: stable names, metadata inside.

The defaults are what Ascend's compiler wants: opset 11, one image, raw heads.
"""

import io
import warnings
from dataclasses import dataclass, field
from typing import get_args

import onnx
import torch
from torch import nn

from yoloslim.boxes import FILL, Align
from yoloslim.choices import Outputs
from yoloslim.deploy.decoded import DecodedDetector, append_best, append_nms, best_count
from yoloslim.deploy.describe import embed_metadata
from yoloslim.deploy.graph import name_outputs, open_batch
from yoloslim.deploy.names import BOXES_AND_SCORES
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.models.detector import Detector, fuse
from yoloslim.models.spec import ModelSpec
from yoloslim.nearest import check_name

INPUT_NAME = "images"
OPSETS = range(11, 19)
"""What the exporter writes and ONNX Runtime reads; compilers from 2021 read 11 only."""


@dataclass(frozen=True)
class ExportOptions:
    """What kind of graph to write.

    Attributes:
        opset: ONNX operator set, 11 to 18.
        batch: images a call; 0 leaves it open.
        outputs: `raw` logits by level; `decoded` boxes (B, n, 4), `xyxy` in canvas pixels, and scores
            (B, n, classes); `nms`, detections (m, 7): image, `xyxy`, score, class; or, of a head that needs no
            suppression, `end2end`: its k best (B, k, 6), `xyxy`, score, class, best first.
        nms: for `nms`: thresholds, and `max_det` as a limit a class; by default those for showing detections. For
            `end2end`: `max_det` is k, or the number of cells where that is less.
        align: where images were placed on the canvas in training and evaluation.
        fill: grey level of the padding, 0-255.
    """

    opset: int = 11
    batch: int = 1
    outputs: Outputs = "raw"
    nms: NmsOptions = field(default_factory=lambda: NmsOptions(conf_thres=0.25, iou_thres=0.45))
    align: Align = "center"
    fill: int = FILL

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise DeployError(f"opset {self.opset} cannot be written; choose {min(OPSETS)} to {max(OPSETS)}")
        check_name("outputs", self.outputs, get_args(Outputs), DeployError)
        if self.batch < 0:
            raise DeployError(f"batch {self.batch} makes no sense; give the images a call, or 0 to leave it open")


def onnx_graph(model: Detector, options: ExportOptions) -> onnx.ModelProto:
    """The graph of a model; the same model gives the same bytes.

    Raises:
        DeployError: the exporter failed or wrote another opset, or the heads cannot be found.
    """
    fused, spec = fuse(model), model.spec
    _check_suppression(spec, options.outputs)
    if options.outputs == "raw":
        graph = _trace(fused, spec, options)
        name_outputs(graph, spec.head, spec.nc)
    else:
        graph = _trace(DecodedDetector(fused), spec, options, BOXES_AND_SCORES)
    _check_opset(graph, options.opset)
    if options.batch == 0:
        open_batch(graph)
    if options.outputs == "nms":
        append_nms(graph, options.nms)
    if options.outputs == "end2end":
        append_best(graph, spec.nc, best_count(spec, options.nms.max_det))
    embed_metadata(graph, spec, spec.name, options.align, options.fill, options.outputs)
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise DeployError(f"the exported graph is not valid ONNX: {error}") from error
    return graph


def _check_suppression(spec: ModelSpec, outputs: Outputs) -> None:
    if outputs == "end2end" and spec.head.needs_nms:
        raise DeployError(
            f"{spec.name} may find an object several times, so it has no outputs 'end2end'; ask for 'nms', or for "
            "'decoded' and suppress outside"
        )
    if outputs == "nms" and not spec.head.needs_nms:
        raise DeployError(
            f"{spec.name} answers with its one-to-one branch, which finds each object once, and NMS would only lose "
            "some; ask for outputs 'end2end', or for the other branch (--branch one_to_many)"
        )


def _trace(
    model: nn.Module, spec: ModelSpec, options: ExportOptions, outputs: list[str] | None = None
) -> onnx.ModelProto:
    buffer = io.BytesIO()
    example = torch.zeros(options.batch or 1, 3, spec.imgsz, spec.imgsz)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dynamo=False is deprecated, but the new exporter cannot write opset 11
        try:
            torch.onnx.export(
                model.cpu(),
                (example,),
                buffer,  # type: ignore[arg-type]  # annotated for paths, written for streams too
                dynamo=False,
                opset_version=options.opset,
                input_names=[INPUT_NAME],
                output_names=outputs,
            )
        except Exception as error:  # the exporter raises whatever its tracing meets
            raise DeployError(f"PyTorch cannot export {spec.name} at opset {options.opset}: {error}") from error
    return onnx.load_model_from_string(buffer.getvalue())


def _check_opset(graph: onnx.ModelProto, opset: int) -> None:
    written = {item.domain or "ai.onnx": item.version for item in graph.opset_import}
    if written != {"ai.onnx": opset}:
        raise DeployError(f"asked the exporter for opset {opset}, it wrote {written}; Ascend's ATC would refuse it")
