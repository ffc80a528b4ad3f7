"""Stage `rknn_eval`: what a model compiled for a Rockchip NPU finds, in the simulator; it has no latency to tell."""

from dataclasses import replace

from yoloslim.config import Params
from yoloslim.data.evalset import EvalSet
from yoloslim.deploy.rockchip.compilation import load_rknn_result
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.files import write_json
from yoloslim.stages.common import METRICS, MODELS, stage_of_model
from yoloslim.stages.inputs import eval_set, nms_options


def run(params: Params, which: str) -> None:
    """Write metrics/rknn_eval/<which>.json, keyed by precision."""
    test = _first(eval_set(params, "test"), params.rknn_eval.images)
    metrics: dict[str, dict[str, float | str]] = {}
    for precision in params.rknn.precisions:
        folder = MODELS / "rknn" / which / precision
        result = load_rknn_result(folder, params.rknn.target)
        predictor = open_predictor(folder, "rknn")
        found = evaluate(predictor, test, nms_options(params), params.evaluation.batch).metrics
        metrics[precision] = {
            **{name: round(value, 6) for name, value in found.items()},
            "images": len(test),
            "size_mb": result.size_mb,
            "weight_kb": result.weight_kb,
            "internal_kb": result.internal_kb,
            "layers_off_npu": len(result.off_npu),
            "chip": result.chip,
            "backend": predictor.backend,
            **({"ranges": result.ranges_from} if result.ranges_from else {}),
        }
    write_json(METRICS / "rknn_eval" / f"{which}.json", metrics)


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
