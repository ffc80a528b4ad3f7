"""Stage `measure`: what trained or pruned models find on the test images, and what they cost."""

import argparse
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from yoloslim.config import Params
from yoloslim.data.evalset import EvalSet
from yoloslim.evaluation.nms import describe_suppression
from yoloslim.files import read_json, sha256_file, write_json
from yoloslim.models.store import load_model
from yoloslim.stages.common import DETECTIONS, MODELS, stage
from yoloslim.stages.costs import measure_cost
from yoloslim.stages.inputs import eval_set, nms_options
from yoloslim.stages.known import evaluating
from yoloslim.stages.measuring import evaluate_model, write_metrics
from yoloslim.stages.models import FACTS
from yoloslim.stages.spread import measure_repeats

logger = logging.getLogger("yoloslim")


def run(params: Params, names: Sequence[str]) -> None:
    """Write metrics/<name>.json, with what each model's own stage noted of it, and detections/<name>.json.

    A file that is a copy of another, as `sparse` is of `baseline` without a penalty, is measured once.
    """
    images = eval_set(params, "test")
    measured: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for name in names:
        folder = MODELS / name
        digest = sha256_file(folder / "model.safetensors")
        measured[digest] = measured.get(digest) or measure(params, name, images)
        metrics, detections = measured[digest]
        write_json(DETECTIONS / f"{name}.json", detections, indent=None)
        facts = read_json(folder / FACTS) if (folder / FACTS).is_file() else {}
        found = {**metrics, **facts, **measure_repeats(params, folder, metrics, images)}
        write_metrics(name, found)
        logger.info("%s: test mAP50 %.3f, %.2f M parameters", name, found["map50"], found["params_m"])
        if "repeats" in found:
            mean, std = found["map50_mean"], found["map50_std"]
            logger.info("%s: mAP50 %.3f ± %.3f of %d seeds", name, mean, std, found["repeats"])


def measure(params: Params, name: str, images: EvalSet) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and costs of a model, and its detections by image."""
    path = MODELS / name / "model.safetensors"
    model = load_model(path)
    evaluation = evaluate_model(params, model, images, evaluating(params, "torch", [path]))
    metrics = {
        **evaluation.metrics,
        "suppression": describe_suppression(model.spec.head, nms_options(params)),
        **measure_cost(params, model, path),
        "size_mb": path.stat().st_size / 1e6,
    }
    detections = [np.round(rows.astype(np.float64), 4).tolist() for rows in evaluation.detections]
    return metrics, {"ids": images.ids, "detections": detections}


def main() -> None:
    """Run the stage for some models."""
    parser = argparse.ArgumentParser(description=__doc__)
    help = "baseline, sparse, prune/50, finetune/50 ..."
    parser.add_argument("--which", nargs="+", required=True, metavar="MODEL", help=help)
    stage(partial(run, names=parser.parse_args().which))
