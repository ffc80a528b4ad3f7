"""Stage `rknn_eval`: what a model compiled for a Rockchip NPU finds, on a board or in the simulator."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from yoloslim.config import Params
from yoloslim.data.evalset import EvalSet
from yoloslim.deploy.board.device import Device, open_device
from yoloslim.deploy.board.evaluation import latency_of, run_on, score_run
from yoloslim.deploy.rockchip.compilation import load_rknn_result
from yoloslim.deploy.rockchip.twin import predict_npu
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.files import write_json
from yoloslim.stages.common import METRICS, MODELS, rounded, stage_of_model, timing_threads
from yoloslim.stages.inputs import eval_set, nms_options, prepared_split

_WARMUP = 5
"""Runs of the first image on a board before the clock starts."""


def run(params: Params, which: str) -> None:
    """Write metrics/rknn_eval/<which>.json, keyed by precision."""
    e = params.rknn_eval
    test, options = _first(eval_set(params, "test"), e.images), nms_options(params)
    device = None if e.target == "simulator" else open_device(e.target, "", e.python, "rknn_eval")
    metrics: dict[str, dict[str, Any]] = {}
    for precision in params.rknn.precisions:
        folder = MODELS / "rknn" / which / precision
        result = load_rknn_result(folder, params.rknn.target)
        if device:
            found = _on_board(device, folder, test, options, precision)
        else:
            found = _simulated(folder, test, options, params.evaluation.batch)
        metrics[precision] = {
            **rounded(found),
            "images": len(test),
            "size_mb": result.size_mb,
            "weight_kb": result.weight_kb,
            "internal_kb": result.internal_kb,
            "layers_off_npu": len(result.off_npu),
            "chip": result.chip,
        }
        if result.ranges_from:
            metrics[precision] |= {"ranges": result.ranges_from, "calibration_images": result.calibration_images}
        if e.twin_images:
            twin = predict_npu(folder, prepared_split("test"), options, e.twin_images, timing_threads(params))
            metrics[precision]["twin"] = rounded(twin)
    write_json(METRICS / "rknn_eval" / f"{which}.json", metrics)
    if device:
        device.tidy()


def _simulated(folder: Path, test: EvalSet, options: NmsOptions, batch: int) -> dict[str, float | str]:
    predictor = open_predictor(folder, "rknn")
    return {**evaluate(predictor, test, options, batch).metrics, "backend": predictor.backend}


def _on_board(
    device: Device, folder: Path, test: EvalSet, options: NmsOptions, precision: str
) -> dict[str, float | str]:
    run = run_on(device, folder, test, options, "rknnlite", _WARMUP)
    return {**score_run(run, test).metrics, **latency_of(run), "backend": f"{run.backend}-{precision}"}


def _first(images: EvalSet, count: int) -> EvalSet:
    """So many images of a set; all of them for 0."""
    if not count or count >= len(images):
        return images
    return replace(
        images,
        ids=images.ids[:count],
        images=images.images[:count],
        letterboxes=images.letterboxes[:count],
        annotations=images.annotations[:count],
    )


def main() -> None:
    """Run the stage for one model."""
    stage_of_model(run, __doc__, "a percent, or `baseline`")
