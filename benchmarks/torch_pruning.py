"""Against Torch-Pruning on the same weights at equal FLOPs: `python -m benchmarks.torch_pruning`.

Needs `pip install torch-pruning==1.6.1` (of the extra `benchmarks`). Seeded YOLOv5s by default; with
`--trained models/sparse/model.safetensors --voc data/voc` a trained model, and mAP50 before finetuning, too.
"""

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from tests.pruning.recipe import seed_batchnorms
from torch import nn

import torch_pruning
from benchmarks.latency import interleaved
from yoloslim.data.evalset import load_eval_set
from yoloslim.data.voc import load_split
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.models.detector import Detector, build_detector, count_macs, count_params
from yoloslim.models.store import load_model
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.recalibrate import recalibrate
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut

SETTINGS = ((50, 1), (50, 16), (35, 16))
"""Percent asked of Torch-Pruning, and round_to of both."""
RECALIBRATION_IMAGES = 200


@dataclass(frozen=True)
class Cut:
    """A pruned network, the seconds that took, and its largest difference from the masked dense one."""

    model: Detector
    seconds: float
    difference: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trained", type=Path, help="model file to prune instead of the seeded YOLOv5s")
    parser.add_argument("--voc", type=Path, help="prepared data folder, for mAP50 on its test split")
    parser.add_argument("--percents", type=int, nargs="+", help="asked of Torch-Pruning, with round_to 1")
    parser.add_argument("--rounds", type=int, default=70, help="timed calls of each network")
    parser.add_argument("--threads", type=int, default=2, help="threads of the runtime")
    arguments = parser.parse_args()
    dense = load_model(arguments.trained) if arguments.trained else seeded()
    settings = [(p, 1) for p in arguments.percents] if arguments.percents else SETTINGS
    cuts: dict[str, Cut] = {}
    for percent, multiple in settings:
        rounding = f", round_to {multiple}" if multiple > 1 else ""
        theirs = by_torch_pruning(dense, percent, multiple)
        goal = 2e-9 * count_macs(theirs.model, dense.spec.imgsz)
        cuts[f"Torch-Pruning, {percent} %{rounding}"] = theirs
        cuts[f"yoloslim, same FLOPs as {percent} %{rounding}"] = by_yoloslim(dense, goal, multiple)
    networks = {"dense": dense} | {name: c.model for name, c in cuts.items()}
    times = interleaved(networks, dense.spec.imgsz, arguments.rounds, arguments.threads)
    map50 = measure_map50(arguments.voc, dense.spec.imgsz) if arguments.voc else None
    print("| network | params | MACs | s to prune | difference | ms (p10-p90) | times as fast | mAP50 | re-estimated |")
    print("|:--|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, network in networks.items():
        t, done = times[name], cuts.get(name)
        cells = [
            name,
            f"{100 * count_params(network) / count_params(dense):.1f} %",
            f"{100 * count_macs(network, dense.spec.imgsz) / count_macs(dense, dense.spec.imgsz):.1f} %",
            f"{done.seconds:.2f}" if done else "",
            f"{done.difference:.1e}" if done else "",
            f"{t.median_ms:.1f} ({t.p10_ms:.1f}-{t.p90_ms:.1f})",
            f"{t.speedup:.2f}",
            *(map50(network) if map50 else ("", "")),
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


def seeded() -> Detector:
    model = build_detector("yolov5s", tuple(str(i) for i in range(20)), imgsz=512).eval()
    seed_batchnorms(model)
    return model


def by_torch_pruning(dense: Detector, percent: float, multiple: int) -> Cut:
    """BNScalePruner over all layers at once, the heads left alone."""
    model = copy.deepcopy(dense).requires_grad_(True)
    masked = copy.deepcopy(dense)
    names = {module: name for name, module in model.named_modules()}
    start = time.perf_counter()
    pruner = torch_pruning.pruner.BNScalePruner(
        model,
        torch.rand(1, 3, dense.spec.imgsz, dense.spec.imgsz),
        importance=torch_pruning.importance.BNScaleImportance(),
        pruning_ratio=percent / 100,
        global_pruning=True,
        round_to=multiple if multiple > 1 else None,
        ignored_layers=list(model.get_submodule("model.24").modules()),
    )
    for group in pruner.step(interactive=True):
        for dependency, indices in group:
            module = dependency.target.module
            if isinstance(module, nn.BatchNorm2d):
                mask(masked, names[module], np.asarray(indices))
        group.prune()
    return Cut(model.eval(), time.perf_counter() - start, difference(model, masked))


def by_yoloslim(dense: Detector, gflops: float, multiple: int) -> Cut:
    start = time.perf_counter()
    coupling = find_coupling(dense)
    request = PruneRequest(scope="coupled", target_gflops=gflops, round_to=multiple, imgsz=dense.spec.imgsz)
    keep = select_channels(dense, coupling, request).keep
    small = cut(dense, coupling, keep, fold=True)
    seconds = time.perf_counter() - start
    masked = copy.deepcopy(dense)
    for path in coupling.batchnorms:
        mask(masked, path, np.flatnonzero(~keep[coupling.layers[path].outputs]))
    return Cut(small, seconds, difference(cut(dense, coupling, keep), masked))


@torch.no_grad()
def mask(model: Detector, path: str, channels: np.ndarray) -> None:
    """Silence output channels of a BatchNorm: their value is then act(0) = 0."""
    norm = cast(nn.BatchNorm2d, model.get_submodule(path))
    norm.weight[channels] = 0
    norm.bias[channels] = 0


@torch.no_grad()
def difference(model: Detector, masked: Detector) -> float:
    """Largest difference of any logit on a random image, in float64, where rounding cannot hide a wrong channel."""
    x = torch.rand(1, 3, model.spec.imgsz, model.spec.imgsz, dtype=torch.float64)
    pair = [copy.deepcopy(m).double().eval()(x) for m in (model, masked)]
    return max(float((a - b).abs().max()) for a, b in zip(*pair, strict=True))


def measure_map50(voc: Path, imgsz: int) -> Callable[[Detector], tuple[str, str]]:
    """mAP50 on the test split as cut, and after re-estimating BatchNorm statistics on training images."""
    test = load_eval_set(load_split(voc, "test"), imgsz, Path(".cache/images"))
    images = load_eval_set(load_split(voc, "train"), imgsz, Path(".cache/images")).images
    train = images[np.random.default_rng(0).permutation(len(images))[:RECALIBRATION_IMAGES]]
    batches = [torch.from_numpy(b).permute(0, 3, 1, 2).float() / 255 for b in np.array_split(train, 8)]

    def both(model: Detector) -> tuple[str, str]:
        again = copy.deepcopy(model)
        recalibrate(again, batches)
        plain, better = (evaluate(TorchPredictor(m), test).metrics["map50"] for m in (model, again))
        return f"{plain:.3f}", f"{better:.3f}"

    return both


if __name__ == "__main__":
    main()
