"""A detector as an MLflow model, with two flavours: `onnx`, the graph, and `python_function`, from pictures to boxes.

docs/results.md tells how one is served and asked. Nothing in such a model is pickled, and no code is in it: MLflow
loads it by `_load_pyfunc` here.
"""

import importlib.metadata
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoloslim.deploy.manifest import MANIFEST_NAME, load_manifest
from yoloslim.errors import DataError, TrackingError, YoloslimError

if TYPE_CHECKING:
    import pandas as pd

GRAPH = "model.onnx"
COLUMNS = {"image": "long", "class": "string", "score": "double", "x1": "double", "y1": "double", "x2": "double"}
COLUMNS |= {"y2": "double"}
"""Of a box: number of the picture in the request, class, score in [0, 1], corners in pixels of the picture."""
CONF = 0.25
"""Boxes with a lower score are left out, unless a request says otherwise."""


def can_be_served(onnx: Path) -> bool:
    """Whether an exported graph has its manifest, and gives raw outputs, which are decoded here.

    Raises:
        TrackingError: the manifest is not that of the graph.
    """
    try:
        return (onnx.parent / MANIFEST_NAME).is_file() and bool(load_manifest(onnx.parent).head_names)
    except YoloslimError as error:
        raise TrackingError(str(error)) from error


def write_model(onnx: Path, out: Path, example: bytes, model_id: str) -> None:
    """Write the folder of an MLflow model.

    Args:
        onnx: an exported graph with its manifest beside it.
        out: the folder, which must not exist.
        example: a picture as JPEG or PNG, as the input example.
        model_id: MLflow's number of the model.
    """
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    signature = ModelSignature(
        Schema([ColSpec("binary", "image")]),
        Schema([ColSpec(kind, name) for name, kind in COLUMNS.items()]),
        ParamSchema([ParamSpec("conf", "double", CONF)]),
    )
    manifest = load_manifest(onnx.parent)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "detector"
        data.mkdir()
        for file in (onnx, onnx.parent / MANIFEST_NAME):
            shutil.copyfile(file, data / file.name)
        model = Model(model_id=model_id)
        mlflow.pyfunc.save_model(
            out,
            loader_module=__name__,
            data_path=str(data),
            signature=signature,
            input_example=pd.DataFrame({"image": [example]}),
            pip_requirements=[f"yoloslim=={importlib.metadata.version('yoloslim')}", "onnxruntime"],
            metadata={"classes": list(manifest.classes), "imgsz": manifest.imgsz},
            mlflow_model=model,
        )
    model.add_flavor(
        "onnx",
        onnx_version=importlib.metadata.version("onnx"),
        data=f"data/detector/{GRAPH}",
        providers=["CPUExecutionProvider"],
        onnx_session_options=None,
        code=None,
    )
    model.save(str(out / "MLmodel"))


def _load_pyfunc(path: str) -> "ServedDetector":
    """What MLflow calls with the model's data."""
    return ServedDetector(Path(path))


class ServedDetector:
    """From a table with a column `image`, pictures as files hold them, to a table with a line a box."""

    def __init__(self, folder: Path) -> None:
        """Open the graph of an MLflow model's data."""
        from yoloslim.deploy.runtimes import open_predictor

        self.predictor = open_predictor(folder / GRAPH)

    def predict(self, pictures: "pd.DataFrame", params: Mapping[str, Any] | None = None) -> "pd.DataFrame":
        """Boxes of all pictures as `yoloslim detect` chooses them, those of each best first.

        Raises:
            DataError: a picture is no bytes, or cannot be read.
        """
        import pandas as pd

        from yoloslim.data.images import image_from
        from yoloslim.evaluation.inference import PredictorInference
        from yoloslim.evaluation.nms import showing

        options = showing(self.predictor.head, float((params or {}).get("conf", CONF)))
        inference, lines = PredictorInference(self.predictor, options), []
        for number, picture in enumerate(pictures["image"]):
            if not isinstance(picture, bytes | bytearray):
                raise DataError(f"image {number} is a {type(picture).__name__}; give the bytes of a JPEG or PNG")
            canvas, place = inference.prepare(image_from(bytes(picture), Path(f"{number} of the request")))
            for row in inference.find(inference.infer(canvas), place):
                box = [round(float(value), 1) for value in row[:4]]
                lines.append((number, inference.classes[int(row[5])], round(float(row[4]), 4), *box))
        return pd.DataFrame(lines, columns=list(COLUMNS))
