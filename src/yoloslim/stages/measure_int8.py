"""Stage `measure_int8`: what the int8 versions of a model find and cost."""

from yoloslim.config import Params
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.speed import measure_against
from yoloslim.files import write_json
from yoloslim.stages.common import BASELINE, METRICS, MODELS, stage_of_model, timing_threads
from yoloslim.stages.inputs import eval_set, nms_options


def run(params: Params, which: str) -> None:
    """Write metrics/quantize/<which>.json, keyed by runtime."""
    e, a, threads = params.evaluation, params.ascend_eval, timing_threads(params)
    test = eval_set(params, "test")
    dense = open_predictor(MODELS / "export" / BASELINE, threads=threads)
    metrics: dict[str, dict[str, float | str]] = {}
    for runtime in params.quantize.runtimes:
        folder = MODELS / "quantize" / which / runtime
        predictor = open_predictor(folder, threads=threads)
        manifest = load_manifest(folder)
        metrics[runtime] = {
            **evaluate(predictor, test, nms_options(params), e.batch).metrics,
            **measure_against(predictor, dense, a.warmup, a.repeats),
            "latency_threads": threads,
            "size_mb": sum((folder / name).stat().st_size for name in manifest.files) / 1e6,
            "backend": predictor.backend,
            "ranges": manifest.ranges_from,
            "calibration_images": manifest.calibration_images,
            "fp32_layers": len(manifest.fp32_layers),
        }
    write_json(METRICS / "quantize" / f"{which}.json", metrics)


def main() -> None:
    """Run the stage for one model."""
    stage_of_model(run, __doc__, "a percent, or `baseline`")
