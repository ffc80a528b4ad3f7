"""A folder as the stages leave it, made up in milliseconds."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.tiny import HEAD
from yoloslim.data.voc import annotation_from, write_annotation
from yoloslim.deploy.ascend.effects import TITLES
from yoloslim.deploy.manifest import Manifest, Output, save_manifest
from yoloslim.files import sha256_file
from yoloslim.results.records import Row

LAYERS = [f"model.{i}.{part}.bn" for i in range(10) for part in ("conv", "cv1", "cv2")]
PARAMS: dict[str, Any] = {
    "seed": 0,
    "model": "yolov5n",
    "imgsz": 64,
    "percents": [30, 50],
    "data": {"source": "scenes", "workers": 2, "train_images": 10},
    "train": {"batch": 4},
    "baseline": {"epochs": 3},
    "sparse": {"epochs": 3, "rate": 0.01},
    "prune": {"scope": "source"},
    "finetune": {"epochs": 3},
}
TINY = bytes(range(64))
"""Stands for the bytes of a model."""


def put(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def measured(map50: float, params_m: float, backend: str, fps: float) -> dict[str, Any]:
    return {
        **{"map50": map50, "map50_95": map50 * 0.6, "map50_voc07": map50 - 0.01},
        **{"precision": 0.8, "recall": 0.7, "params_m": params_m, "gflops": 4 * params_m, "size_mb": 4 * params_m},
        **{"latency_ms": 1000 / fps, "latency_p90_ms": 1200 / fps, "fps": fps, "backend": backend},
    }


def deployed(map50: float, fps: float, size: float) -> dict[str, Any]:
    values = measured(map50, 0, "onnxruntime-cpu", fps)
    return {**{k: v for k, v in values.items() if k not in ("params_m", "gflops")}, "size_mb": size} | {
        **{"preprocessing": "aipp-twin nv12", "speedup": fps / 125},
        "twin": {"reference": {"map50": map50, "map50_95": 0.4, "images": 100.0}}
        | {name: {"map50": -0.001 * i, "map50_95": 0.0} for i, name in enumerate(TITLES)},
    }


def epochs(path: Path, top: float, count: int = 3, sparse: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for epoch in range(1, count + 1):
        done = epoch / count
        row: dict[str, Any] = {"epoch": epoch, "box_loss": 0.1, "obj_loss": 0.1, "cls_loss": 0.1, "loss": 1 - done / 2}
        row |= {"map50": top * done, "map50_95": "" if epoch == 1 else top * done / 2, "lr": 0.01, "images_per_s": 100}
        if sparse:
            row |= {"gamma_p05": 0.0, "gamma_p50": 1 - done, "near_zero": done / 2}
        rows.append(row)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def gammas(path: Path, count: int = 3) -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(1, 0.3, 30 * 16).astype(np.float32)
    steps = [before * (1 - done) + done * np.where(rng.random(480) < 0.5, 0.001, before) for done in (0.3, 0.7, 1.0)]
    arrays = {"names": np.array(LAYERS), "sizes": np.full(30, 16), "before": before, "epochs": np.arange(1, count + 1)}
    np.savez(path, gammas=np.stack(steps).astype(np.float16), **arrays)


def percent(root: Path, p: int, map50: float) -> None:
    left, name = 1 - p / 100, f"{p}.json"
    cut = {"percent_requested": p, "percent_effective": p - 0.4, "map50_cut": map50 / 4, "map50_folded": map50 / 3}
    cut |= {"map50_recalibrated": map50 / 2, "certificate_max_diff": 3e-7}
    put(root / "metrics/prune" / name, measured(map50 / 2, 2 * left, "pytorch-cpu", 100) | cut)
    layers = [
        {"path": path, "kind": "batchnorm", "kept": round(16 * left), "total": 16, "params": 32, "macs": 0}
        for path in LAYERS
    ]
    after = {"params_m": 2 * left, "gflops": 8 * left, "gflops_padded": 9 * left, "channels": 480 * left}
    proof = {"cut": [1e-14] * 3, "folded": [2e-14] * 3, "border": [0.1] * 3, "inexact": [], "images": [2, 8]}
    put(
        root / f"models/prune/{p}/report.json",
        {
            "layers": layers,
            "importance": "gamma",
            "normalise": "mean",
            "effective_percent": p - 0.4,
            "after": after,
            "clipped": {},
        }
        | {"certificate": proof | {"tolerance": 1e-4, "max_cut": 1e-14, "max_folded": 2e-14}},
    )
    put(root / "metrics/finetune" / name, measured(map50, 2 * left, "pytorch-cpu", 100 + p))
    put(root / "metrics/export" / name, {"onnx_max_diff": 1e-5, "size_mb": 7 * left, "opset": 11})
    put(root / "metrics/ascend_eval" / name, deployed(map50 - 0.002, 150 + 2 * p, 7 * left))
    put(root / f"models/atc/{p}/atc.json", {"state": "not_available"})
    model(root / f"models/finetune/{p}/model.safetensors", TINY + bytes([p]))
    exported(root / f"models/export/{p}")
    boxes(root / f"detections/finetune/{p}.json")
    epochs(root / f"plots/finetune/{p}/epochs.csv", map50)


def model(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def exported(folder: Path) -> None:
    """A graph that nobody runs, with a manifest that holds."""
    model(folder / "model.onnx", TINY)
    heads = [Output(name=name, shape=(1, *shape)) for name, shape in HEAD.outputs(2, 64).items()]
    manifest = Manifest(
        **{"files": {"model.onnx": sha256_file(folder / "model.onnx")}, "model": "tiny", "input_name": "images"},
        **{"input_shape": (1, 3, 64, 64), "heads": heads, "classes": ("cat", "dog"), "head": HEAD},
        **{"letterbox_align": "center", "letterbox_fill": 114, "opset": 11, "torch_version": "2.11"},
    )
    save_manifest(manifest, folder)


def boxes(path: Path) -> None:
    found = [[[8, 8, 30, 40, 0.9, 0], [40, 40, 60, 60, 0.4, 1], [1, 1, 5, 5, 0.01, 1]], []]
    put(path, {"ids": ["a", "b"], "detections": found})


def batches(path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    boxes = np.array([[0, 1, 0.5, 0.5, 0.2, 0.4], [2, 0, 0.3, 0.6, 0.5, 0.5]], np.float32)
    np.savez(path, images=images, batch=np.array([0, 0, 1]), boxes=boxes)


def data(root: Path) -> None:
    import cv2

    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("cat\ndog\n")
    for split in ("train", "val", "test"):
        (root / f"ImageSets/Main/{split}.txt").write_text("a\nb\n")
    rng = np.random.default_rng(0)
    for name, rows in (("a", [[8, 8, 30, 40], [35, 20, 60, 50]]), ("b", [])):
        cv2.imwrite(str(root / f"JPEGImages/{name}.jpg"), rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
        n = len(rows)
        note = annotation_from(64, 48, rows, list(range(n)), [False] * n, [False] * n)
        write_annotation(root / f"Annotations/{name}.xml", f"{name}.jpg", note, ("cat", "dog"))


def build(folder: Path) -> Path:
    """All stages have run, at percents 30 and 50."""
    put(folder / "metrics/baseline.json", measured(0.8, 2.0, "pytorch-cpu", 100))
    put(folder / "metrics/sparse.json", measured(0.78, 2.0, "pytorch-cpu", 100) | {"near_zero": 0.45})
    put(folder / "metrics/export/baseline.json", {"onnx_max_diff": 1e-5, "size_mb": 7.0, "opset": 11})
    put(folder / "metrics/ascend_eval/baseline.json", deployed(0.799, 150, 7.0))
    put(folder / "models/atc/baseline/atc.json", {"state": "not_available"})
    for name in ("baseline", "sparse"):
        model(folder / f"models/{name}/model.safetensors", TINY + name.encode())
        epochs(folder / f"plots/{name}/epochs.csv", 0.8, sparse=name == "sparse")
        gammas(folder / f"models/{name}/gammas.npz")
    (folder / "models/baseline/gammas.npz").unlink()
    exported(folder / "models/export/baseline")
    boxes(folder / "detections/baseline.json")
    batches(folder / "models/baseline/batches.npz")
    percent(folder, 30, 0.79)
    percent(folder, 50, 0.78)
    data(folder / "data/voc")
    return folder


def finished(percent: int, map50: float, params_m: float, fps: float = 100, backend: str = "onnxruntime-cpu") -> Row:
    return Row(
        name=f"prune@{percent}" if percent else "baseline",
        kind="pruned" if percent else "baseline",
        percent=percent,
        trained={"map50": map50, "params_m": params_m},
        deployed={"map50": map50, "fps": 7, "speedup": fps / 100, "backend": backend},
    )
