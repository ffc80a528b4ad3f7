"""The files that the stages write, read back as one typed row per model.

A row is a model that people compare: `baseline` (the zero row), `control` (the same, trained on), `sparse`, one for
each percent, which joins what `prune@p`, `finetune@p`, `export@p`, `atc@p` and `ascend_eval@p` wrote, and
`unstructured` (single weights zeroed). A stage that has not run yet leaves its part of the row empty.
"""

import csv
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeGuard

from yoloslim.errors import TrackingError
from yoloslim.evaluation.other_work import disturbed
from yoloslim.files import read_json, sha256_file
from yoloslim.results.one_session import at_its_pace, timed

Metrics = dict[str, Any]
"""Metric name -> number, and `backend`, `preprocessing`, `suppression` -> text."""
Epoch = dict[str, float]
"""Column of epochs.csv -> value; columns without a value in that epoch are left out."""
Unpruned = Literal["baseline", "control", "sparse", "unstructured"]
Kind = Literal[Unpruned, "pruned"]

QUALITY = ("map50", "map50_95", "map50_voc07", "precision", "recall")
"""Shares in [0, 1]."""
COST = ("params_m", "gflops")
"""Millions of parameters; 1e9 floating point operations an image."""
SPEED = ("latency_ms", "latency_p90_ms", "fps", "latency_other_cores")
"""Of one image at a time, on the `backend` beside them; the last: cores that other programs used meanwhile."""
REPEATED = ("repeats", "map50_mean", "map50_std", "map50_95_mean", "map50_95_std")
"""Of the same training with several seeds, in PyTorch at fp32; the spread is that of the sample."""
PRUNING = (
    *("percent_requested", "percent_effective", "certificate_max_diff"),
    *("map50_cut", "map50_folded", "map50_recalibrated"),
)


@dataclass(frozen=True)
class Row:
    """One model and everything known about it.

    Attributes:
        name: `baseline`, `control`, `sparse`, `unstructured` or `prune@50`; unique in a root.
        kind: which of these.
        percent: share of channels asked to go, %; 0 for all others.
        trained: test metrics in PyTorch at fp32 of the model as trained last (`finetune` for a percent).
        pruned: what `prune@p` measured before finetuning.
        exported: what `export` measured.
        deployed: what `ascend_eval` measured, on the backend that it names.
        quantized: what `quantize` measured, by runtime.
        simulated: what `rknn_eval` found in the NPU's simulator, by precision; it has no speed.
        compiled: what `atc` left: `compiled`, `not_available` or empty.
        report: layer by layer account of the cut; see `pruning.report`.
        epochs: the training's history.
        model: the model file, None where there is none.
        onnx: the exported graph, likewise.
        gammas: arrays of the sparse training, likewise.
        detections: boxes found on the test images, likewise.
        batches: the first images of the training, likewise.
        training: key of the training, by which the run that followed it live is found.
    """

    name: str
    kind: Kind
    percent: int = 0
    trained: Metrics = field(default_factory=dict)
    pruned: Metrics = field(default_factory=dict)
    exported: Metrics = field(default_factory=dict)
    deployed: Metrics = field(default_factory=dict)
    quantized: dict[str, Metrics] = field(default_factory=dict)
    simulated: dict[str, Metrics] = field(default_factory=dict)
    compiled: str = ""
    report: dict[str, Any] = field(default_factory=dict)
    epochs: tuple[Epoch, ...] = ()
    model: Path | None = None
    onnx: Path | None = None
    gammas: Path | None = None
    detections: Path | None = None
    batches: Path | None = None
    training: str = ""

    @property
    def title(self) -> str:
        """How people call it."""
        title = f"{self.percent} % pruned" if self.kind == "pruned" else self.kind
        if self.kind == "control":
            title = "dense, trained on"
        if self.kind == "unstructured":
            title = f"{self.trained.get('zero_percent', 0):.0f} % zeros"
        return f"{title}, {int8_title(self.deployed)}" if " int8 " in self.name else title

    @property
    def backend(self) -> str:
        """The runtime that speed was measured on; empty where it was not."""
        return str((self.deployed or self.trained).get("backend", ""))

    @property
    def disturbed(self) -> float | None:
        """Cores that other programs used while its speed was measured, where that was too many; else None."""
        cores = (self.deployed or self.trained).get("latency_other_cores")
        return float(cores) if is_number(cores) and disturbed(cores) else None

    def metrics(self) -> dict[str, float]:
        """Every number under the name that it has in MLflow, the same for every row.

        Plain quality and cost are PyTorch's at fp32. `latency_ms`, `latency_p90_ms` and `fps` are those of the
        deployed model, since two backends under one name would be compared with each other; PyTorch's end in
        `_pytorch`. `speedup` is against the dense model, timed in turn with it.
        Quality and file size of the deployed model end in `_deployed`, those of int8 versions in `_int8_<runtime>`,
        those in Rockchip's simulator in `_rknn_<precision>`.
        `twin_map50_reference` and `twin_map50_<effect>`: mAP50 without, and the predicted change with, what is
        peculiar to an Ascend board; with `_rknn_<precision>` behind it, to a Rockchip NPU.
        """
        found: Metrics = {key: self.number(key) for key in (*QUALITY, *COST, "size_mb", "near_zero", "zero_percent")}
        found |= {key: self.trained.get(key) for key in REPEATED}
        found |= {key: self.deployed.get(key) for key in SPEED}
        found["speedup"] = self.deployed.get("speedup")
        found |= {f"{key}_pytorch": self.trained.get(key) for key in SPEED}
        found |= {f"{key}_deployed": self.deployed.get(key) for key in (*QUALITY, "size_mb")}
        for runtime, values in self.quantized.items():
            found |= {f"{key}_int8_{runtime}": values.get(key) for key in (*QUALITY, *SPEED, "size_mb", "speedup")}
        for precision, values in self.simulated.items():
            found |= {f"{key}_rknn_{precision}": values.get(key) for key in (*QUALITY, "size_mb")}
            twin = values.get("twin") or {}
            found |= {f"twin_map50_{effect}_rknn_{precision}": change.get("map50") for effect, change in twin.items()}
        found |= {key: self.pruned.get(key) for key in PRUNING} | _cut_metrics(self.report)
        for effect, change in (self.deployed.get("twin") or {}).items():  # what the board will do, predicted
            found[f"twin_map50_{effect}"] = change.get("map50")
        found |= {"map50_pruned": self.pruned.get("map50"), "onnx_max_diff": self.exported.get("onnx_max_diff")}
        return {key: float(value) for key, value in found.items() if is_number(value)}

    def with_int8(self) -> "list[Row]":
        """This row, and one beside it for every int8 version, as comparisons show them."""
        names = [f"{self.name} int8 {runtime}" for runtime in self.quantized]
        return [self, *(replace(self, name=n, deployed=m) for n, m in zip(names, self.quantized.values(), strict=True))]

    def number(self, key: str) -> float | None:
        """A PyTorch metric; costs are known from `prune` on, before a percent is finetuned."""
        value = self.trained.get(key, self.pruned.get(key) if key in (*COST, "size_mb") else None)
        return float(value) if is_number(value) else None

    def best(self, key: str) -> float | None:
        """The deployed value where there is one, else PyTorch's; of a deployed model no other runtime's times."""
        value = self.deployed.get(key)
        if self.deployed and key in (*SPEED, "speedup") and not is_number(value):
            return None
        return float(value) if is_number(value) else self.number(key)

    def key(self) -> str:
        """SHA-256 of what the stages produced: all numbers and the model file."""
        content = [self.name, self.trained, self.pruned, self.exported, self.deployed, self.compiled]
        content += [part for part in (self.quantized, self.simulated) if part]
        content.append(sha256_file(self.model) if self.model else "")
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def int8_title(found: Metrics, precision: str = "int8") -> str:
    """How people call an int8 version: whether its ranges were trained with, or taken from images afterwards."""
    return f"{precision} from training" if found.get("ranges") == "training" else precision


def _cut_metrics(report: dict[str, Any]) -> Metrics:
    """Numbers of a layer by layer account that no metrics file has."""
    proof, after = report.get("certificate", {}), report.get("after", {})
    found: Metrics = {"percent_limit": report.get("percent_limit"), "gflops_padded": after.get("gflops_padded")}
    found |= {"certificate_folded_max_diff": proof.get("max_folded")}
    found |= {f"certificate_{k}_head{i + 1}": v for k in ("cut", "folded") for i, v in enumerate(proof.get(k, ()))}
    return found | ({"clipped_layers": len(report["clipped"])} if "clipped" in report else {})


def read_rows(root: Path, percents: Sequence[int] | None = None, controls: Sequence[str] | None = None) -> list[Row]:
    """Read what is there: baseline, control, sparse, percents in rising order, unstructured.

    Without metrics there is no row, nor is there one for a sparse model that is the baseline again, without a penalty.

    Args:
        root: the folder that holds `metrics/`, `models/` and `plots/`.
        percents: only these (a percent that was taken out of params.yaml leaves its files behind); None takes all.
        controls: likewise.

    Raises:
        TrackingError: a file is not what its stage writes.
    """
    found = _percents_in(root) if percents is None else sorted(percents)
    handed_on = _metrics(root / "models" / "sparse" / "history.json").get("penalty") == "none"
    left_out = {"sparse"} if handed_on else set()
    left_out |= {"control"} if controls is not None and "dense" not in controls else set()
    kinds: list[Unpruned] = [kind for kind in ("baseline", "control", "sparse") if kind not in left_out]
    rows = [*(_stage_row(root, kind) for kind in kinds), *(_percent_row(root, p) for p in found)]
    rows.append(_stage_row(root, "unstructured"))
    timing = _metrics(root / "metrics" / "timing.json")
    rows = [_timed(row, timing) for row in rows]
    return [row for row in rows if row.trained or row.pruned or row.exported or row.deployed]


def _stage_row(root: Path, kind: Unpruned) -> Row:
    models, metrics = root / "models", root / "metrics"
    name = "control/dense" if kind == "control" else kind
    deployed = kind in ("baseline", "control")  # the others are on the way, or a comparison, and never deployed
    return Row(
        name=kind,
        kind=kind,
        trained=_metrics(metrics / f"{name}.json"),
        exported=_metrics(metrics / "export" / f"{name}.json") if deployed else {},
        deployed=_metrics(metrics / "ascend_eval" / f"{name}.json") if deployed else {},
        quantized=_metrics(metrics / "quantize" / f"{name}.json") if deployed else {},
        simulated=_metrics(metrics / "rknn_eval" / f"{name}.json") if deployed else {},
        compiled=_atc_state(models / "atc" / name / "atc.json"),
        epochs=_epochs(root / "plots" / name / "epochs.csv"),
        model=_first(models / name / "model.safetensors"),
        onnx=_first(models / "export" / name / "model.onnx"),
        gammas=_first(models / name / "gammas.npz"),
        detections=_first(root / "detections" / f"{name}.json"),
        batches=_first(models / name / "batches.npz"),
        training=_training_key(models / name),
    )


def _timed(row: Row, timing: Metrics) -> Row:
    name = {"baseline": "baseline", "control": "control/dense", "pruned": str(row.percent)}.get(row.kind, "")
    return replace(row, deployed=timed(row.deployed, timing, name), quantized=at_its_pace(row.quantized, timing))


def _percent_row(root: Path, percent: int) -> Row:
    models, metrics, name = root / "models", root / "metrics", str(percent)
    return Row(
        name=f"prune@{percent}",
        kind="pruned",
        percent=percent,
        trained=_metrics(metrics / "finetune" / f"{name}.json"),
        pruned=_metrics(metrics / "prune" / f"{name}.json"),
        exported=_metrics(metrics / "export" / f"{name}.json"),
        deployed=_metrics(metrics / "ascend_eval" / f"{name}.json"),
        quantized=_metrics(metrics / "quantize" / f"{name}.json"),
        simulated=_metrics(metrics / "rknn_eval" / f"{name}.json"),
        compiled=_atc_state(models / "atc" / name / "atc.json"),
        report=_metrics(models / "prune" / name / "report.json"),
        epochs=_epochs(root / "plots" / "finetune" / name / "epochs.csv"),
        model=_first(models / "finetune" / name / "model.safetensors", models / "prune" / name / "model.safetensors"),
        onnx=_first(models / "export" / name / "model.onnx"),
        detections=_first(root / "detections" / "finetune" / f"{name}.json"),
        batches=_first(models / "finetune" / name / "batches.npz"),
        training=_training_key(models / "finetune" / name),
    )


def _percents_in(root: Path) -> list[int]:
    names = {path.stem for path in (root / "metrics" / "prune").glob("*.json")}
    return sorted(int(name) for name in names if name.isdecimal())


def _metrics(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value = read_json(path, finite=False)
    if not isinstance(value, dict):
        raise TrackingError(f"{path} holds a {type(value).__name__} where its stage writes an object; run it again")
    return value


def _training_key(folder: Path) -> str:
    return str(_metrics(folder / "history.json").get("training", ""))


def _atc_state(path: Path) -> str:
    return str(_metrics(path).get("state", ""))


def _epochs(path: Path) -> tuple[Epoch, ...]:
    if not path.is_file():
        return ()
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return tuple(_epoch(row.items()) for row in csv.DictReader(stream))
    except (ValueError, TypeError) as error:
        raise TrackingError(f"{path} is not the table of numbers that its stage writes: {error}") from error


def _epoch(cells: Iterable[tuple[str, str]]) -> Epoch:
    values = {name: float(cell) for name, cell in cells if cell not in ("", None)}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _first(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value read from a file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
