"""Stage `measure`: what a trained or pruned model finds on the test images, and what it costs."""

import logging

import numpy as np

from yoloslim.config import Params
from yoloslim.evaluation.nms import describe_suppression
from yoloslim.files import read_json, write_json
from yoloslim.models.store import load_model
from yoloslim.stages.common import DETECTIONS, MODELS, stage_of_model
from yoloslim.stages.inputs import eval_set, nms_options, prepared_split
from yoloslim.stages.measuring import evaluate_model, measure_cost, write_metrics
from yoloslim.stages.models import FACTS
from yoloslim.stages.spread import measure_repeats

logger = logging.getLogger("yoloslim")


def run(params: Params, which: str) -> None:
    """Write metrics/<which>.json, with what the model's own stage noted of it, and detections/<which>.json."""
    folder = MODELS / which
    path = folder / "model.safetensors"
    model = load_model(path)
    images = eval_set(params, "test")
    evaluation = evaluate_model(params, model, images)
    detections = [np.round(rows.astype(np.float64), 4).tolist() for rows in evaluation.detections]
    write_json(DETECTIONS / f"{which}.json", {"ids": prepared_split("test").ids, "detections": detections}, indent=None)
    facts = read_json(folder / FACTS) if (folder / FACTS).is_file() else {}
    costs = {**measure_cost(params, model), "size_mb": path.stat().st_size / 1e6}
    found = {
        **evaluation.metrics,
        "suppression": describe_suppression(model.spec.head, nms_options(params)),
        **costs,
        **facts,
        **measure_repeats(params, folder, evaluation.metrics, images),
    }
    write_metrics(which, found)
    logger.info("%s: test mAP50 %.3f, %.2f M parameters", which, found["map50"], found["params_m"])
    if "repeats" in found:
        mean, std = found["map50_mean"], found["map50_std"]
        logger.info("%s: mAP50 %.3f ± %.3f of %d seeds", which, mean, std, found["repeats"])


def main() -> None:
    """Run the stage for one model."""
    stage_of_model(run, __doc__, "baseline, sparse, prune/50, finetune/50 ...")
