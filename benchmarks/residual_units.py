"""Residual units cut out of YOLOv3-SPP and YOLOv4 after their channels: `python -m benchmarks.residual_units`.

Scales are random, so that only the arithmetic can be compared with the published table (two classes, 416 px): how
many parameters and FLOPs a cut of that force leaves. The strong cuts of the table were found on trained networks,
whose weak channels sit in the wide layers; random scales are alike everywhere. So each model is pruned twice: at the
published percent, and to the published number of parameters, from where the units are taken. Half a minute.
"""

import torch
from torch import nn

from yoloslim.models.detector import Detector, build_detector, count_macs, count_params
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut
from yoloslim.pruning.units import rank_units, remove_units

IMGSZ, CLASSES = 416, ("person", "car")
PUBLISHED = {
    "yolov3-spp": (89, 17, {"dense": (62.5, 65.69), "channels": (2.6, 13.23), "units": (2.2, 11.79)}),
    "yolov4": (88, 18, {"dense": (62.5, 59.57), "channels": (1.5, 8.692), "units": (1.3, 7.815)}),
}
"""Percent of the channels, residual units; millions of parameters and GFLOPs before, between and after."""


def main() -> None:
    print("| model | cut | parameters | GFLOPs | published |")
    print("|:--|:--|--:|--:|--:|")
    for name, (percent, units, table) in PUBLISHED.items():
        dense = random_scales(build_detector(name, CLASSES, IMGSZ).eval())
        row(name, "none", dense, table["dense"])
        coupling = find_coupling(dense)
        requests = {
            f"{percent} % of the channels": PruneRequest(
                scope="slim", percent=percent, layer_keep=0.01, round_to=1, imgsz=IMGSZ
            ),
            f"channels, to {table['channels'][0]} M": PruneRequest(
                scope="coupled", target_params_m=table["channels"][0], layer_keep=0.01, round_to=1, imgsz=IMGSZ
            ),
        }
        for what, request in requests.items():
            slim = cut(dense, coupling, select_channels(dense, coupling, request).keep, fold=True)
            row(name, f"{what} ({request.scope})", slim, table["channels"])
            assert len(rank_units(slim)) == 23
            fewer, removed = remove_units(slim, units)
            assert len(removed) == units
            row(name, f"and {units} of 23 units", fewer, table["units"])


def row(name: str, what: str, model: Detector, published: tuple[float, float]) -> None:
    params, gflops = count_params(model) / 1e6, 2e-9 * count_macs(model, IMGSZ)
    print(f"| {name} | {what} | {params:.2f} M | {gflops:.2f} | {published[0]} M, {published[1]:.2f} |", flush=True)


def random_scales(model: Detector) -> Detector:
    rng = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0, 1, generator=rng)
    return model


if __name__ == "__main__":
    main()
