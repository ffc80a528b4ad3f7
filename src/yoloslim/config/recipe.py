"""What `auto` stands for, by what the pipeline starts from: how to train, how to cut, and how much a teacher counts.

Weights that were trained on much more data, or for longer, than a pipeline trains are soon lost at the rates that suit
fresh ones, and so is what a cut leaves of them.
"""

from collections.abc import Mapping
from typing import Any, get_args

from yoloslim.config.train import Optimizer
from yoloslim.prune_request import OVER_MEANS, Importance, Scope

AUTO = "auto"

FRESH: Mapping[str, tuple[Optimizer, Mapping[Optimizer, float]]] = {
    "baseline": ("AdamW", {"AdamW": 0.004, "Adam": 0.004, "SGD": 0.02}),
    "sparse": ("SGD", {"AdamW": 0.002, "Adam": 0.002, "SGD": 0.02}),
    "finetune": ("AdamW", {"AdamW": 0.002, "Adam": 0.002, "SGD": 0.02}),
}
"""By section: the usual optimizer, and the rate of each, where `baseline` starts from scratch."""

TRAINED: Mapping[str, tuple[Optimizer, Mapping[Optimizer, float]]] = {
    "baseline": ("AdamW", {"AdamW": 0.001, "Adam": 0.001, "SGD": 0.01}),
    "sparse": ("SGD", {"AdamW": 0.001, "Adam": 0.001, "SGD": 0.01}),
    "finetune": ("SGD", {"AdamW": 0.0003, "Adam": 0.0003, "SGD": 0.003}),
}
"""Likewise, where it starts from `baseline.weights`; docs/training-recipes.md says what they rest on."""

MOMENTUM: Mapping[Optimizer, float] = {"AdamW": 0.9, "Adam": 0.9, "SGD": 0.937}
"""Of SGD the momentum, of the others beta1."""

FRESH_TEACHER, TRAINED_TEACHER = 0.5, 2.0
"""Weight of the teacher's detections, where the boxes count 1."""

RANKED_BY: Mapping[str, Importance] = {"slimming": "gamma", "group": "l2", "growing": "l2"}
"""By penalty: what it acts on."""
PUBLISHED: tuple[Scope, ...] = ("source", "slim")
"""Scopes whose published rules rank by BatchNorm scales."""

FIT_PIXELS, FIT_IMAGES = 64 * 640**2, 256
"""Pixels in all, and images at most, that trained layers are fitted on; YOLOv5n takes about 2 GB for them."""


def settle_recipes(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of params.yaml with values in the place of each `auto`, and of each key that is missing.

    What is not a section is left for the schema to refuse.
    """
    baseline = raw.get("baseline")
    weights = baseline.get("weights") if isinstance(baseline, Mapping) else getattr(baseline, "weights", "")
    settled = dict(raw)
    for name, (optimizer, rates) in (TRAINED if weights else FRESH).items():
        section = raw.get(name, {})
        if isinstance(section, Mapping):
            settled[name] = _settle(section, optimizer, rates)
    if isinstance(settled.get("finetune"), Mapping):
        settled["finetune"] = _settle_teacher(settled["finetune"], bool(weights))
    prune = raw.get("prune", {})
    if isinstance(prune, Mapping):
        sparse = raw.get("sparse")
        penalty = sparse.get("penalty", "none") if isinstance(sparse, Mapping) else getattr(sparse, "penalty", "none")
        settled["prune"] = _settle_prune(prune, bool(weights), str(penalty), raw.get("imgsz"))
    return settled


def _settle_teacher(section: Mapping[str, Any], trained: bool) -> dict[str, Any]:
    if section.get("distill_output", AUTO) != AUTO:
        return dict(section)
    return {**section, "distill_output": TRAINED_TEACHER if trained else FRESH_TEACHER}


def _settle_prune(section: Mapping[str, Any], trained: bool, penalty: str, imgsz: Any) -> dict[str, Any]:
    """Of `importance`, `auto` stays where stage `ranking` is to try: fresh weights without a penalty."""
    settled = {"importance": AUTO, "normalise": AUTO, "fit_images": AUTO, **section}
    if settled["importance"] == AUTO:
        by_penalty = RANKED_BY.get(penalty, "taylor" if trained else AUTO)
        settled["importance"] = "gamma" if settled.get("scope") in PUBLISHED else by_penalty
    values: dict[str, Any] = {"normalise": "none", "fit_images": 0}
    if trained and settled["importance"] in OVER_MEANS:
        values["normalise"] = "mean"
    if trained and settled.get("rounds", 1) == 1:
        side = imgsz if isinstance(imgsz, int) and imgsz > 0 else 160  # the default; the schema refuses the others
        values["fit_images"] = min(FIT_IMAGES, max(1, FIT_PIXELS // side**2))
    return settled | {key: value for key, value in values.items() if settled[key] == AUTO}


def _settle(section: Mapping[str, Any], usual: Optimizer, rates: Mapping[Optimizer, float]) -> dict[str, Any]:
    settled = {"optimizer": AUTO, "momentum": AUTO, "lr0": AUTO, **section}
    optimizer = usual if settled["optimizer"] == AUTO else settled["optimizer"]
    known = optimizer if optimizer in get_args(Optimizer) else usual  # the schema refuses the others
    values = {"optimizer": optimizer, "momentum": MOMENTUM[known], "lr0": rates[known]}
    return settled | {key: value for key, value in values.items() if settled[key] == AUTO}
