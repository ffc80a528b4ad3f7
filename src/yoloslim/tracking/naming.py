"""What things are called in MLflow, so that its compare view says the right thing first.

The view draws the params that differ, in the order of the alphabet, against the metric that was logged first; its
scatter plot draws the first param of the alphabet against the first metric of the alphabet. So `percent` is the only
param without a prefix, all others are `yaml.<key>`, alike in every run; `map50` is logged first; and no metric stands
before it in the alphabet.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from yoloslim.config.machine import MACHINE
from yoloslim.results.records import REPEATED, Row, is_number

UNREAD = ("percents", "probes", "report", "sweep", "schedule", "tracking")
"""Sections of params.yaml that change no model and no measurement."""
MOST = 6000
"""Characters that MLflow takes for a param."""
PREFIX = "yaml."
"""Of params that are keys of params.yaml; it comes after `percent` in the alphabet."""
LAYOUT = 2
"""Counts up when names change, so that runs of an older layout are logged anew and can be compared."""
COMPARED = {
    "map50": "map50",
    "map50_95": "map50_95",
    "params_m": "params_m",
    "size_mb": "size_mb",
    "fps": "speed_fps",
    "latency_ms": "speed_latency_ms",
    "speedup": "speedup",
}
"""What people compare, all of one backend: the deployed model where there is one, PyTorch else."""
BELOW = {
    "pytorch": ("map50", "map50_95", "map50_voc07", "precision", "recall", "latency_ms", "latency_p90_ms", "fps"),
    "runtime": ("map50_voc07", "precision", "recall", "latency_p90_ms"),
    "quantized": ("map50", "map50_95", "latency_ms", "fps", "speedup", "size_mb"),
    "rknn": ("map50", "map50_95", "size_mb"),
    "prune": ("percent_effective", "map50", "map50_cut", "map50_folded", "map50_recalibrated", "certificate_max_diff"),
}
"""What stands below a prefix: of PyTorch, of the deployed model, of its int8 versions, in Rockchip's simulator, and of
the cut model."""


def curve_name(column: str) -> str:
    """The MLflow name of a column of epochs.csv; the part before the slash groups charts."""
    if column.startswith("gamma_") or column == "near_zero":
        return f"scales/{column.removeprefix('gamma_')}"
    if column in ("map50", "map50_95", "precision", "recall"):
        return f"val/{column}"
    return f"train/{column}"


def curves_of(epochs: Sequence[Mapping[str, float]]) -> list[tuple[int, str, float]]:
    """Epoch, MLflow name and value of every point of a training's curves."""
    return [(int(row["epoch"]), curve_name(k), v) for row in epochs for k, v in row.items() if k != "epoch"]


def run_key(row: Row) -> str:
    """Stands for what a row's run shows: its results, under the names that they have."""
    return hashlib.sha256(f"{LAYOUT} {row.key()}".encode()).hexdigest()


def run_params(percent: int, params: Mapping[str, Any]) -> dict[str, str]:
    """`percent`, and every key of params.yaml that changes results; the same keys for every row."""
    return {"percent": str(percent)} | flat(params)


def flat(params: Mapping[str, Any], sections: Sequence[str] | None = None) -> dict[str, str]:
    """Keys of params.yaml as `yaml.<section>.<key>`, without what changes no result.

    Args:
        params: params.yaml as a nested dictionary.
        sections: only these; None takes all that stages read.
    """
    found: dict[str, str] = {}
    for section, value in params.items():
        if section in UNREAD or (sections is not None and section not in sections):
            continue
        if isinstance(value, Mapping):
            keys = {f"{section}.{key}": v for key, v in value.items()}
            found |= {f"{PREFIX}{key}": str(v)[:MOST] for key, v in keys.items() if key not in MACHINE}
        elif value is not None:
            found[f"{PREFIX}{section}"] = str(value)[:MOST]
    return found


def training_params(phase: str, params: Mapping[str, Any]) -> dict[str, str]:
    """The params that make up a training's key, so that none of them can change while its run is open."""
    sections = ("sparse", "finetune") if phase == "control" else (phase,)
    return flat(params, ("seed", "model", "imgsz", "train", *sections))


def run_metrics(row: Row) -> dict[str, float]:
    """Every number of a row under its name in MLflow, those that people compare first."""
    speed = {"fps", "latency_ms", "speedup"}
    found: dict[str, Any] = {name: row.deployed.get(k) if k in speed else row.best(k) for k, name in COMPARED.items()}
    found["percent"] = float(row.percent)
    found |= {f"network/{key}": row.number(key) for key in ("gflops", "near_zero", "zero_percent")}
    found |= {f"pytorch/{key}": row.trained.get(key) for key in BELOW["pytorch"]}
    found |= {f"repeats/{key}": row.trained.get(key) for key in REPEATED}
    found |= {f"runtime/{key}": row.deployed.get(key) for key in BELOW["runtime"]}
    for runtime, values in row.quantized.items():
        found |= {f"quantized/{runtime}_{key}": values.get(key) for key in BELOW["quantized"]}
    for precision, values in row.simulated.items():
        found |= {f"rknn/{precision}_{key}": values.get(key) for key in BELOW["rknn"]}
        twin = values.get("twin") or {}
        found |= {f"twin/rknn_{precision}_map50_{effect}": change.get("map50") for effect, change in twin.items()}
    for effect, change in (row.deployed.get("twin") or {}).items():
        found[f"twin/map50_{effect}"] = change.get("map50")
    found |= {f"prune/{key}": row.pruned.get(key) for key in BELOW["prune"]}
    found |= {"prune/percent_limit": row.report.get("percent_limit")}
    found |= {"network/gflops_padded": row.report.get("after", {}).get("gflops_padded")}
    found["runtime/onnx_max_diff"] = row.exported.get("onnx_max_diff")
    return {key: float(value) for key, value in found.items() if is_number(value)}


def ranges_tags(row: Row) -> dict[str, str]:
    """Where the ranges of each int8 version come from, `training` or `calibration`, as `ranges.<runtime>`."""
    every = row.quantized | {f"rknn_{precision}": values for precision, values in row.simulated.items()}
    return {f"ranges.{name}": str(values["ranges"]) for name, values in every.items() if values.get("ranges")}


def data_set(hashes: Mapping[str, str], params: Mapping[str, Any]) -> Any | None:
    """The data as MLflow's data set, its digest the beginning of DVC's hash; None before stage `data` has run."""
    if "data" not in hashes:
        return None
    from mlflow.entities import Dataset, DatasetInput, InputTag  # slow, and only needed when something changed

    source = json.dumps({"path": "data/voc", "md5": hashes["data"]})
    name = str(params.get("data", {}).get("source", "data"))
    return DatasetInput(Dataset(name, hashes["data"][:8], "dvc", source), [InputTag("mlflow.data.context", "training")])
