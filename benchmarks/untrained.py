"""What a public checkpoint still finds after a cut without training: `python -m benchmarks.untrained PACK MODEL`.

Each way comes down to the same FLOPs: the network as cut, with BatchNorm statistics re-estimated, and with its layers
fitted to what they gave (`yoloslim prune --data`), all on the same images of the training set, which the importances
taylor (with their boxes) and activation look at, too; and Torch-Pruning 1.6.1, group norm over all layers, as cut and
re-estimated. Accuracy on the test images. `--ways l2 l2_uniform taylor_budget`: an importance, and what makes its
scores comparable, or that the widths are those that lose least within the FLOPs.
"""

import argparse
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import torch

from benchmarks.shrink import torch_pruned
from yoloslim.models.detector import Detector, count_macs
from yoloslim.models.foreign.adapt import with_imgsz
from yoloslim.models.foreign.load import read_model
from yoloslim.prune_request import Importance, Normalise, PruneRequest
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.flops_selection import select_by_flops
from yoloslim.pruning.normalise import ranking_scores
from yoloslim.pruning.recalibrate import recalibrate
from yoloslim.pruning.reconstruct import reconstruct
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut
from yoloslim.tasks.sample import Sample, sample_of

PEER, BUDGET = "torch-pruning", "budget"
WAYS = ("l2", "gamma", "taylor", "activation", PEER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path, help="data set of any layout")
    parser.add_argument("model", type=Path)
    parser.add_argument("--imgsz", type=int, default=0, help="px; 0 is the model's own")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--less", type=float, nargs="+", default=(0.1, 0.2, 0.3), help="shares of the FLOPs that go")
    parser.add_argument(
        "--round-to", type=int, default=8, help="multiple of channels that stays, but in Torch-Pruning: 8"
    )
    parser.add_argument("--ways", nargs="+", default=WAYS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dense = read_model(arguments.model).eval()
    if arguments.imgsz:
        dense = with_imgsz(dense, arguments.imgsz, lambda head, _: head)
    with sample_of(arguments.pack, "auto", dense, arguments.images) as sample:
        print("| way | FLOPs left | mAP50 | mAP50-95 |\n|:--|--:|--:|--:|")
        print(row("dense", dense, dense, sample), flush=True)
        for less in arguments.less:
            for name, model in contestants(dense, 1 - less, sample, arguments.ways, arguments.round_to):
                print(row(name, dense, model, sample), flush=True)


def contestants(
    dense: Detector, share: float, sample: Sample, ways: Sequence[str], round_to: int
) -> Iterator[tuple[str, Detector]]:
    """All ways to a share of the FLOPs, one after the other."""
    goal = share * 2e-9 * count_macs(dense, dense.spec.imgsz)
    images = sample.images
    for way in ways:
        if way == PEER:
            theirs = to_flops(dense, goal)
            yield "Torch-Pruning, group norm, cut", theirs
            yield "Torch-Pruning, group norm, re-estimated", estimated(theirs, images)
            continue
        importance, _, normalise = way.partition("_")
        scores, coupling = sample.scores(dense, importance), find_coupling(dense)
        request = PruneRequest(
            importance=cast(Importance, importance),
            normalise="none" if normalise == BUDGET else cast(Normalise, normalise or "none"),
            target_gflops=goal,
            round_to=round_to,
            imgsz=dense.spec.imgsz,
        )
        if normalise == BUDGET:
            selection, _ = select_by_flops(dense, coupling, request, ranking_scores(dense, coupling, request, scores))
        else:
            selection = select_channels(dense, coupling, request, scores=scores)
        keep = selection.keep
        small = cut(dense, coupling, keep, fold=True)
        yield f"{way}, cut", small
        yield f"{way}, re-estimated", estimated(small, images)
        plain = cut(dense, coupling, keep)
        reconstruct(dense, plain, coupling, keep, images)
        yield f"{way}, layers fitted", plain


def to_flops(dense: Detector, goal: float) -> Detector:
    """Torch-Pruning's network that comes nearest to the goal from below: it is asked for channels, not FLOPs."""
    low, high = 0.0, 0.9
    best = torch_pruned("group", 8, dense, high)
    for _ in range(10):
        middle = (low + high) / 2
        small = torch_pruned("group", 8, dense, middle)
        if 2e-9 * count_macs(small, dense.spec.imgsz) <= goal:
            best, high = small, middle
        else:
            low = middle
    return best


def estimated(model: Detector, images: torch.Tensor) -> Detector:
    """A copy whose BatchNorm statistics are of these images."""
    settled = copy.deepcopy(model)
    recalibrate(settled, torch.split(images, 32))
    return settled


def row(name: str, dense: Detector, model: Detector, sample: Sample) -> str:
    left = count_macs(model, dense.spec.imgsz) / count_macs(dense, dense.spec.imgsz)
    found = sample.accuracy(model)
    if found is None:
        raise SystemExit("the data set has no test images with boxes")
    return f"| {name} | {100 * left:.1f} % | {found['map50']:.3f} | {found['map50_95']:.3f} |"


if __name__ == "__main__":
    main()
