"""Stage `quantize`: int8 versions of an exported model, calibrated on training images, and what they find and cost."""

import argparse
from functools import partial

from yoloslim.config import Params
from yoloslim.deploy.quantize import quantize
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.speed import measure_latency, measure_speedup
from yoloslim.files import write_json
from yoloslim.stages.common import BASELINE, METRICS, MODELS, eval_set, nms_options, stage, training_sample


def run(params: Params, which: str) -> None:
    """Write models/quantize/<which>/<runtime> and metrics/quantize/<which>.json, keyed by runtime."""
    q, e, a = params.quantize, params.evaluation, params.ascend_eval
    images = training_sample(params, q.images)
    test = eval_set(params, "test")
    dense = open_predictor(MODELS / "export" / BASELINE, threads=e.threads)
    metrics: dict[str, dict[str, float | str]] = {}
    for runtime in q.runtimes:
        out = MODELS / "quantize" / which / runtime
        manifest = quantize(MODELS / "export" / which, images, out, runtime)
        predictor = open_predictor(out, threads=e.threads)
        found = evaluate(predictor, test, nms_options(params), e.batch).metrics
        size = sum((out / name).stat().st_size for name in manifest.files)
        metrics[runtime] = {
            **found,
            **measure_latency(predictor, warmup=a.warmup, repeats=a.repeats, threads=e.threads),
            "speedup": measure_speedup(predictor, dense, a.warmup, a.repeats),
            "size_mb": size / 1e6,
            "backend": predictor.backend,
        }
    write_json(METRICS / "quantize" / f"{which}.json", metrics)


def main() -> None:
    """Run the stage for one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--which", required=True, help="a percent, or `baseline`")
    stage(partial(run, which=parser.parse_args().which))
