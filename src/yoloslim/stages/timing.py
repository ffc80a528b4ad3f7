"""Stage `timing`: latency of all exported models in turn, in one process, so that they can be compared."""

from yoloslim.config import Params
from yoloslim.deploy.manifest import load_manifest
from yoloslim.evaluation.predictor import OnnxPredictor
from yoloslim.evaluation.speed import measure_in_turn
from yoloslim.files import write_json
from yoloslim.stages.common import BASELINE, CONTROL, METRICS, MODELS, rounded, stage, timing_threads


def run(params: Params) -> None:
    """Write metrics/timing.json: the backend, and the times of each model by what `--which` calls it."""
    threads, a = timing_threads(params), params.ascend_eval
    names = [BASELINE, *(f"{CONTROL}/{which}" for which in params.controls), *map(str, params.percents)]
    predictors = {}
    for name in names:
        folder = MODELS / "export" / name
        manifest = load_manifest(folder)
        predictors[name] = OnnxPredictor(folder / manifest.file, manifest, threads)
    times = measure_in_turn(predictors, BASELINE, a.warmup, a.repeats)
    for found in times.values():
        found["latency_threads"] = threads
    write_json(METRICS / "timing.json", {"backend": predictors[BASELINE].backend, "models": rounded(times)})


def main() -> None:
    """Run the stage."""
    stage(run)
