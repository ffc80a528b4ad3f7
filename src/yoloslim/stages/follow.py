"""A training's curves in MLflow while it runs."""

from pathlib import Path

from yoloslim.config import Params
from yoloslim.results.uris import chosen_uri
from yoloslim.tracking.live import LiveCurves, Target
from yoloslim.tracking.naming import training_params


def follow(params: Params, name: str, key: str) -> LiveCurves:
    """Live curves of the training `name` (`baseline`, `finetune/50` ...), whose inputs have the hash `key`."""
    t = params.tracking
    if not (t.enabled and t.live):
        return LiveCurves(None)
    phase, _, percent = name.partition("/")
    pruned = percent.isdecimal()
    tags = {"stage": "pruned" if pruned else phase, "percent": percent if pruned else "0"}
    shown = {"percent": tags["percent"]} | training_params(phase, params.model_dump(mode="json"))
    slot = f"prune@{percent}" if pruned else phase
    return LiveCurves(Target(Path(), chosen_uri(t.uri), t.experiment, slot, key, shown, tags))
