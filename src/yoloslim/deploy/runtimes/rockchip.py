"""Rockchip's NPUs run compiled models (.rknn) in the folder that `yoloslim compile --target` wrote, or simulate."""

from collections.abc import Callable
from pathlib import Path

from yoloslim.choices import Precision
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.runtimes.base import Runtime
from yoloslim.evaluation.predictor.base import GraphDescription, Predictor

COMPILED = "model.rknn"


def _open(
    file: Path, description: Callable[[], GraphDescription], threads: int | None, precision: Precision
) -> Predictor:
    from yoloslim.deploy.rockchip.compilation import load_rknn_result
    from yoloslim.deploy.rockchip.predictor import RknnSimulator

    return RknnSimulator(file, load_manifest(file.parent), load_rknn_result(file.parent))


def _open_on_board(
    file: Path, description: Callable[[], GraphDescription], threads: int | None, precision: Precision
) -> Predictor:
    from yoloslim.deploy.rockchip.board import RknnLitePredictor
    from yoloslim.deploy.rockchip.compilation import load_rknn_result

    return RknnLitePredictor(file, load_manifest(file.parent), load_rknn_result(file.parent))


RKNN = Runtime("rknn", (".rknn",), _open, beside=COMPILED)
RKNNLITE = Runtime("rknnlite", (".rknn",), _open_on_board, beside=COMPILED)
