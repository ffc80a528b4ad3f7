"""Predictors: anything that maps uint8 images to raw head outputs. Decoding and metrics do not care which.

`deploy.runtimes.open_predictor` finds the right one for a file. PyTorch's is in `predictor.pytorch`, so that the others
can do without PyTorch, which takes two seconds to import.
"""

from yoloslim.evaluation.predictor.base import (
    Geometry,
    GraphDescription,
    GraphPredictor,
    Images,
    Predictor,
    Preprocess,
    divide_by_255,
)
from yoloslim.evaluation.predictor.litert import LiteRtPredictor
from yoloslim.evaluation.predictor.ncnn import NcnnPredictor
from yoloslim.evaluation.predictor.onnxruntime import OnnxPredictor
from yoloslim.evaluation.predictor.openvino import OpenVinoPredictor

__all__ = [
    "Geometry",
    "GraphDescription",
    "GraphPredictor",
    "Images",
    "LiteRtPredictor",
    "NcnnPredictor",
    "OnnxPredictor",
    "OpenVinoPredictor",
    "Predictor",
    "Preprocess",
    "divide_by_255",
]
