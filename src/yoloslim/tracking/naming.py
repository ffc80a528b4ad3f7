"""What things are called in MLflow; equal names in every run are what lines up its compare view."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from yoloslim.config.machine import MACHINE
from yoloslim.results.records import Row

SHARED = ("seed", "model", "imgsz", "data", "train", "baseline", "evaluation", "export", "ascend", "atc", "ascend_eval")
SECTIONS = {
    "baseline": SHARED,
    "sparse": (*SHARED, "sparse"),
    "pruned": (*SHARED, "sparse", "prune", "finetune"),
    "unstructured": (*SHARED, "unstructured"),
}
"""Sections of params.yaml that a row depends on."""


def curve_name(column: str) -> str:
    """The MLflow name of a column of epochs.csv; the part before the slash groups charts."""
    if column.startswith("gamma_") or column == "near_zero":
        return f"gamma/{column.removeprefix('gamma_')}"
    if column in ("map50", "map50_95", "precision", "recall"):
        return f"val/{column}"
    return f"train/{column}"


def curves_of(epochs: Sequence[Mapping[str, float]]) -> list[tuple[int, str, float]]:
    """Epoch, MLflow name and value of every point of a training's curves."""
    return [(int(row["epoch"]), curve_name(k), v) for row in epochs for k, v in row.items() if k != "epoch"]


def run_params(row: Row, params: Mapping[str, Any]) -> dict[str, str]:
    """The params that a row depends on, flattened to `section.key`, and its percent."""
    return {"percent": str(row.percent)} | flat(params, SECTIONS[row.kind])


def training_params(phase: str, params: Mapping[str, Any]) -> dict[str, str]:
    """The params that make up a training's key, so that none of them can change while its run is open."""
    return flat(params, ("seed", "model", "imgsz", "train", phase))


def flat(params: Mapping[str, Any], sections: Sequence[str]) -> dict[str, str]:
    """Some sections of params.yaml as `section.key`, without what changes no result."""
    flat: dict[str, str] = {}
    for section in sections:
        value = params.get(section)
        if isinstance(value, Mapping):
            flat |= {f"{section}.{key}": str(v) for key, v in value.items() if f"{section}.{key}" not in MACHINE}
        elif value is not None:
            flat[section] = str(value)
    return flat


def data_set(hashes: Mapping[str, str], params: Mapping[str, Any]) -> Any | None:
    """The data as MLflow's data set, whose digest is DVC's hash of data/voc; None before stage `data` has run."""
    if "data" not in hashes:
        return None
    from mlflow.entities import Dataset, DatasetInput, InputTag  # slow, and only needed when something changed

    source = json.dumps({"path": "data/voc", "md5": hashes["data"]})
    name = str(params.get("data", {}).get("source", "data"))
    return DatasetInput(Dataset(name, hashes["data"], "dvc", source), [InputTag("mlflow.data.context", "training")])
