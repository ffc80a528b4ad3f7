"""Every runtime on dense and pruned YOLOv5s (or `--model`): `python -m benchmarks.deployment`, about four minutes.

Latency with the seeded weights of `benchmarks.pruning` at 512 px, batch 1, image bytes in and raw heads out, in
turn. With `--project`, the folder of a finished pipeline run, also the accuracy of its baseline and of one
percent through every runtime and precision, LiteRT and Rockchip where their toolchains are installed; with `--files`
and `--data` that of any model files; `--versions` limits it to those with such words in their name, `--rounds 0`
leaves the latencies out. With `--bccd`, the time of an evaluation from JPEG files to metrics.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tests.pruning.recipe import seed_batchnorms

from benchmarks.latency import in_turn
from benchmarks.pruning import IMGSZ, REQUESTS, pruned
from yoloslim import ranges
from yoloslim.choices import Precision, RknnPrecision, Weights
from yoloslim.config import DataParams
from yoloslim.data.evalset import load_eval_set
from yoloslim.data.prepare import prepare
from yoloslim.data.voc import load_split
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.int8 import quantize
from yoloslim.deploy.rockchip.compilation import RknnOptions, compile_rknn
from yoloslim.deploy.runtimes import RUNTIMES, int8_runtimes, open_predictor
from yoloslim.errors import DeployError
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.nms import NmsOptions, detect
from yoloslim.evaluation.predictor import OnnxPredictor, Predictor
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.models.detector import Detector, build_detector, count_macs, count_params, fuse
from yoloslim.models.store import load_model
from yoloslim.toolchains import TOOLCHAINS, state_of

PEER_MS = {
    "dense | onnxruntime-cpu": 31.9,
    "dense | openvino-cpu": 28.6,
    "dense | openvino-cpu-bf16": 16.5,
    "pruned | onnxruntime-cpu": 21.5,
    "pruned | openvino-cpu": 18.4,
    "pruned | openvino-cpu-bf16": 12.5,
}
"""Medians of reference/peers.md, section 5, on another machine: yolov5s 512 px and yolov5prune at 0.5."""

WAYS = {"pruned": "coupled 50 round 16", "pruned by cost": "coupled 50 round 16 by cost"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="yolov5s", help="another one: of it only latencies are measured")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), help="what is timed beside dense")
    parser.add_argument("--rounds", type=int, default=50, help="timed calls of each")
    parser.add_argument("--threads", type=int, default=2, help="threads of every runtime")
    parser.add_argument("--busy", action="store_true", help="count processor time, which needs --threads 1")
    parser.add_argument("--project", type=Path, help="folder of a finished pipeline run")
    parser.add_argument("--percent", type=int, default=50, help="the pruned model of --project")
    parser.add_argument("--files", nargs="+", type=Path, default=[], help="model files, instead of --project")
    parser.add_argument("--data", type=Path, help="of --files: folder in VOC layout with the splits train and test")
    parser.add_argument("--versions", nargs="+", default=[], help="words such as int8 or rknn")
    parser.add_argument("--bccd", type=Path, help="bccd.tar")
    a = parser.parse_args()
    if a.busy and a.threads != 1:
        parser.error("--busy counts the time of all threads together: give --threads 1")
    if bool(a.files) != bool(a.data):
        parser.error("--files and --data belong together")
    with tempfile.TemporaryDirectory() as folder:
        if a.rounds:
            print(latency_table(Path(folder), a.model, a.ways, a.rounds, a.threads, a.busy))
        if a.model != "yolov5s":
            return
        if a.rounds:
            print(decoding_line())
        if a.project or a.files:
            names = ("baseline", f"finetune/{a.percent}")
            files = a.files or [a.project / "models" / name / "model.safetensors" for name in names]
            data = a.data or a.project / "data/voc"
            print(accuracy_table(Path(folder), files, data, a.versions, a.threads))
        if a.bccd:
            print(evaluation_line(Path(folder), a.bccd, a.threads))


def latency_table(folder: Path, model: str, ways: list[str], rounds: int, threads: int, busy: bool) -> str:
    clock = time.process_time if busy else time.perf_counter
    dense = build_detector(model, tuple(str(i) for i in range(20)), imgsz=IMGSZ).eval()
    seed_batchnorms(dense)
    noise = np.random.default_rng(0).integers(0, 256, (16, IMGSZ, IMGSZ, 3), dtype=np.uint8)
    networks = {"dense": dense} | {way: pruned(dense, REQUESTS[WAYS[way]]) for way in ways}
    predictors: dict[str, Predictor] = {
        f"{name} | {predictor.backend}": predictor
        for name, network in networks.items()
        for predictor in predictors_of(network, folder / name, noise, threads)
    }
    if model == "yolov5s":
        predictors["dense | onnxruntime-cpu, plain torch export"] = plain_export(dense, folder, threads)
    times = in_turn({name: partial(p.predict, noise[:1]) for name, p in predictors.items()}, rounds, clock=clock)
    lines = [
        "| network | runtime | median ms (p10-p90) | times dense ONNX Runtime | peer, ms |",
        "|:--|:--|--:|--:|--:|",
    ]
    for name, ms in times.items():
        spread = f"{ms.median_ms:.1f} ({ms.p10_ms:.1f}-{ms.p90_ms:.1f})"
        peer = PEER_MS.get(name, "") if model == "yolov5s" else ""
        lines.append(f"| {name} | {spread} | {ms.speedup:.2f} | {peer} |")
    sizes = {name: (count_params(network), count_macs(network, IMGSZ)) for name, network in networks.items()}
    said = [f"{name} {params / 1e6:.2f} M, {macs / 5e8:.2f} GFLOPs" for name, (params, macs) in sizes.items()]
    lines.append(f"\n{model}: {'; '.join(said)}")
    return "\n".join(lines)


def predictors_of(network: Detector, folder: Path, images: np.ndarray, threads: int) -> list[Predictor]:
    """The network in every runtime and precision, LiteRT only where its toolchain is installed."""
    absent = absent_runtimes()
    names = [name for name in ("onnx", "openvino", "ncnn", "litert") if name not in absent]
    for name in names:
        export_model(network, folder / name, file_format=name)
    found = [open_predictor(folder / name, threads=threads) for name in names]
    with suppress(DeployError):  # a CPU without bf16
        found.insert(2, open_predictor(folder / "openvino", threads=threads, precision="bf16"))
    for runtime in (each for each in int8_runtimes() if each not in absent):
        quantize(folder / "onnx", images, folder / f"int8-{runtime}", runtime)
        found.append(open_predictor(folder / f"int8-{runtime}", threads=threads))
    return found


def absent_runtimes() -> set[str]:
    """Those whose toolchain or GPU is not here; `benchmarks.tensorrt` has what is on one."""
    return {"tensorrt", *(name for name, each in TOOLCHAINS.items() if state_of(each).word != "installed")}


def plain_export(dense: Detector, folder: Path, threads: int) -> Predictor:
    """What `torch.onnx.export` makes of the same fused weights with nothing done to it, to compare our file with."""
    path = folder / "plain.onnx"
    names = [f"head_p{level}" for level in (3, 4, 5)]
    example = torch.zeros(1, 3, IMGSZ, IMGSZ)
    torch.onnx.export(
        fuse(dense), (example,), str(path), dynamo=False, opset_version=13, input_names=["images"], output_names=names
    )
    ours = open_predictor(folder / "dense" / "onnx")
    assert isinstance(ours, OnnxPredictor)
    return OnnxPredictor(path, ours.graph, threads)


def decoding_line() -> str:
    """Decoding and suppression of one image at the thresholds of validation, where many cells are candidates."""
    model = build_detector("yolov5s", tuple(str(i) for i in range(20)), imgsz=IMGSZ).eval()
    rng = np.random.default_rng(0)
    heads = [rng.normal(-2, 1, (1, 3, IMGSZ // s, IMGSZ // s, 25)).astype(np.float32) for s in model.spec.strides]
    for head in heads:
        head[..., 4] -= 6  # a trained model finds little in most cells
    times = []
    for _ in range(60):
        start = time.perf_counter()
        detect(heads, model.spec.head, NmsOptions(conf_thres=0.001))
        times.append((time.perf_counter() - start) * 1000)
    low, middle, high = np.percentile(times[10:], [10, 50, 90])
    above = sum(int((head[..., 4] > np.log(0.001 / 0.999)).sum()) for head in heads)
    return f"\ndecode and NMS at conf 0.001, {above} cells above it: {middle:.2f} ms an image ({low:.2f}-{high:.2f})\n"


def accuracy_table(folder: Path, models: list[Path], data: Path, words: list[str], threads: int) -> str:
    """Accuracy of every version of model files on the test split of `data`, calibrated on 128 training images."""
    lines = ["| model | runtime | mAP50 | mAP50-95 | off PyTorch: mAP50 | mAP50-95 |", "|:--|:--|--:|--:|--:|--:|"]
    for number, path in enumerate(models):
        model = load_model(path)
        cache, size = folder / "cache", model.spec.imgsz
        test, train = (load_eval_set(load_split(data, s), size, cache) for s in ("test", "train"))
        chosen = np.random.default_rng(0).permutation(len(train))[:128]
        truth = evaluate(TorchPredictor(model), test).metrics
        export_model(model, folder / str(number) / "onnx", ranges=ranges.load(path))
        for said, made in versions(model, folder / str(number), train.images[chosen], threads).items():
            if words and not any(word in said for word in words):
                continue
            try:
                predictor, from_where = made()
            except DeployError as error:  # such as bf16 on a CPU without
                lines.append(f"| {path.parent} | {said} | {error} | | | |")
                continue
            m = evaluate(predictor, test).metrics
            numbers = f"{m['map50']:.4f} | {m['map50_95']:.4f}"
            off = " | ".join(f"{m[key] - truth[key]:+.4f}" for key in ("map50", "map50_95"))
            lines.append(f"| {path.parent} | {said}{from_where} | {numbers} | {off} |")
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


Made = tuple[Predictor, str]
"""A version of a model, and what set its ranges, in words."""


def versions(model: Detector, folder: Path, images: np.ndarray, threads: int) -> dict[str, Callable[[], Made]]:
    """What a model becomes in every runtime and precision: name -> what makes it of the export in `folder`/onnx."""
    absent = absent_runtimes()
    onnx = folder / "onnx"

    def exported(name: str, weights: Weights, precision: Precision = "fp32") -> Made:
        out = folder / f"{name}-{weights}-{precision}"
        export_model(model, out, file_format=name, weights=weights)
        return open_predictor(out, threads=threads, precision=precision), ""

    def quantized(name: str, share: float) -> Made:
        out = folder / f"int8-{name}-{share}"
        manifest = quantize(onnx, images, out, name, share)
        return open_predictor(out, threads=threads), f", ranges from {manifest.ranges_from}"

    def compiled(precision: RknnPrecision) -> Made:
        out = folder / f"rknn-{precision}"
        result = compile_rknn(onnx, out, RknnOptions("rk3588", precision), images)
        return open_predictor(out, "rknn"), f", ranges from {result.ranges_from}" if result.ranges_from else ""

    found: dict[str, Callable[[], Made]] = {
        "pytorch fp32": lambda: (TorchPredictor(model), ""),
        "onnxruntime fp32": lambda: (open_predictor(onnx, threads=threads), ""),
        "openvino bf16": partial(exported, "openvino", "fp32", "bf16"),
    }
    others: list[tuple[str, Weights]] = [("openvino", "fp32"), ("ncnn", "fp32"), ("litert", "fp32"), ("litert", "fp16")]
    found |= {f"{name} {w}": partial(exported, name, w) for name, w in others if name not in absent}
    for name in (each for each in int8_runtimes() if each not in absent):
        found[f"{name} int8"] = partial(quantized, name, 0.0)
        if RUNTIMES[name].write_chosen_int8:
            found[f"{name} int8, a tenth in fp32"] = partial(quantized, name, 0.1)
    precisions: tuple[RknnPrecision, ...] = ("fp16", "int8", "hybrid")
    return found | {f"rknn simulator {p}": partial(compiled, p) for p in precisions if "rockchip" not in absent}


def evaluation_line(folder: Path, pack: Path, threads: int) -> str:
    """`yoloslim eval` as a person runs it: start of Python, decoding, letterbox, inference, suppression, mAP."""
    root = folder / "bccd"
    prepare(DataParams(source="voc", path=str(pack), train_set="trainval", val_set="test", test_set="test"), root)
    model = build_detector("yolov5n", load_split(root, "test").classes, 320)
    seed_batchnorms(model)
    with torch.no_grad():
        for head in model.model[-1].m:  # type: ignore[union-attr]
            head.bias.view(3, -1)[:, 4] += 2  # thousands of cells above the threshold, more than after training
    export_model(model.eval(), folder / "bccd-onnx")
    command = [sys.executable, "-m", "yoloslim.cli", "eval", str(folder / "bccd-onnx"), str(root)]
    command += ["--threads", str(threads), "--out", str(folder / "txt")]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
    return (
        f"\n`yoloslim eval` of bccd test, from the start of Python: {np.median(seconds):.2f} s, best of three "
        f"{min(seconds):.2f} s ({done.stdout.splitlines()[-1].split(';')[0]})"
    )


if __name__ == "__main__":
    main()
