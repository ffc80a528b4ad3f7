"""Take in an ONNX file of another tool: find its heads, cut off what comes behind, describe it."""

import tempfile
from pathlib import Path

import numpy as np
import onnx

from yoloslim.boxes import FILL
from yoloslim.deploy.describe import embed_metadata, read_onnx
from yoloslim.deploy.graph import name_input, name_outputs, opset_of
from yoloslim.deploy.manifest import Manifest, Output
from yoloslim.deploy.publish import keep
from yoloslim.deploy.quoting import one_line
from yoloslim.deploy.runtimes import open_graph, open_predictor
from yoloslim.errors import DeployError
from yoloslim.files import sha256_file

MODEL = "model.onnx"


def import_onnx(path: Path, like: Path, out_dir: Path) -> Manifest:
    """Write `model.onnx` and `manifest.json` from a YOLO graph that another tool exported.

    Args:
        path: an ONNX file with static shapes that takes RGB in [0, 1]; it may decode its heads.
        like: a model or an export with the same classes, anchors and strides: a graph does not hold their names, and
            wrong anchors give wrong boxes without an error.
        out_dir: made if missing.

    Raises:
        DeployError: no ONNX, no square static input, or the heads cannot be found: the message says what was looked
            for and what is there.
    """
    if path.resolve() == (out_dir / MODEL).resolve():
        raise DeployError(f"{path} itself would be replaced by what is made of it; name another folder than {out_dir}")
    graph, model = read_onnx(path), open_predictor(like)
    shape = _input_shape(path, graph)
    if shape[2] != model.imgsz:
        raise DeployError(f"{path} takes images of {shape[2]} px, {like} of {model.imgsz} px; export one of them again")
    heads = name_outputs(graph, model.head, len(model.classes))
    input_name, name = name_input(graph), one_line(path.stem)
    embed_metadata(graph, model, name, "center", FILL)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / MODEL
        file.write_bytes(graph.SerializeToString(deterministic=True))
        manifest = Manifest(
            format="onnx",
            files={file.name: sha256_file(file)},
            model=name,
            input_name=input_name,
            input_shape=shape,
            heads=tuple(Output(name=name, shape=shape) for name, shape in heads.items()),
            classes=tuple(model.classes),
            head=model.head,
            letterbox_align="center",
            letterbox_fill=FILL,
            opset=opset_of(graph),
            torch_version=graph.producer_version,
        )
        probe = np.zeros((1, model.imgsz, model.imgsz, 3), np.uint8)
        open_graph(file, manifest).predict(probe)  # it loads and runs
        return keep(Path(temporary), manifest, out_dir)


def _input_shape(path: Path, graph: onnx.ModelProto) -> tuple[int, int, int, int]:
    weights = {weight.name for weight in graph.graph.initializer}
    inputs = [value for value in graph.graph.input if value.name not in weights]
    shapes = {value.name: tuple(s.dim_value for s in value.type.tensor_type.shape.dim) for value in inputs}
    if len(shapes) == 1:
        (shape,) = shapes.values()
        if len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3] > 0 and shape[0] > 0:
            return shape[0], 3, shape[2], shape[3]
    raise DeployError(f"{path} takes {shapes}; wanted is one input (batch, 3, S, S) with fixed sizes")
