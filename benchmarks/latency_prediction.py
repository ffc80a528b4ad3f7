"""How well a table of layers' times tells the latency of a network: `python -m benchmarks.latency_prediction`.

For each model: seconds to measure the table, to read it again, and to choose channels for half of the layers' time
with it; then 20 networks of random widths, their latency as the table has it beside what the runtime takes.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from scipy.stats import spearmanr

from yoloslim.choices import LatencyRuntime
from yoloslim.deploy.latency import open_network
from yoloslim.deploy.latency_table import LatencyTable, latency_table
from yoloslim.evaluation.speed import measure_in_turn
from yoloslim.models.detector import Detector, build_detector
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.budget import within_budget
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.importance import channel_scores
from yoloslim.pruning.minimums import classes_of
from yoloslim.pruning.selection import candidate_groups
from yoloslim.pruning.surgery import cut
from yoloslim.torch_threads import torch_threads

STEP = 8
NARROWEST = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=("yolov5n", "yolov5s", "yolov8s"))
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--runtime", choices=get_args(LatencyRuntime), default="onnxruntime")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", type=int, default=20, help="of random widths")
    parser.add_argument("--rounds", type=int, default=30)
    a = parser.parse_args()
    print(
        f"{a.imgsz} px, {a.runtime}, batch 1, {a.threads} thread(s), {a.networks} networks\n\n"
        "| model | shapes | measuring, s | reading, s | choosing, s | rank correlation | table / measured |\n"
        "|:--|--:|--:|--:|--:|--:|--:|"
    )
    for name in a.models:
        print(row(name, a.imgsz, a.runtime, a.threads, a.networks, a.rounds), flush=True)


def row(name: str, imgsz: int, runtime: LatencyRuntime, threads: int, networks: int, rounds: int) -> str:
    """One model's line of the table."""
    torch.manual_seed(0)
    model = build_detector(name, ("a", "b", "c"), imgsz).eval()
    seconds, table = [], None
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(2):
            begin = time.perf_counter()
            table = latency_table(model, threads, STEP, Path(cache), runtime)
            seconds.append(time.perf_counter() - begin)
    assert table is not None
    coupling = find_coupling(model)
    begin = time.perf_counter()
    within_budget(
        model, coupling, PruneRequest("coupled", round_to=STEP), channel_scores(model, coupling), table.layer_ms, 0.5
    )
    seconds.append(time.perf_counter() - begin)
    others = {f"{number}": random_widths(model, number) for number in range(networks)}
    opened = {key: open_network(network, runtime, threads) for key, network in others.items()}
    with torch_threads(threads):
        times = measure_in_turn(opened, "0", repeats=rounds, clock=time.process_time if threads == 1 else None)
    measured = np.array([times[key]["latency_ms"] for key in others])
    predicted = np.array([milliseconds(table, network) for network in others.values()])
    ratio = predicted / measured
    cells = [name, len(table.shapes), *(f"{s:.2f}" for s in seconds), f"{spearmanr(predicted, measured).statistic:.3f}"]
    return "| " + " | ".join(map(str, [*cells, f"{ratio.min():.2f} to {ratio.max():.2f}"])) + " |"


def random_widths(model: Detector, seed: int) -> Detector:
    """The network with a random share of each coupled set of channels, all around one share, multiples of STEP."""
    coupling, rng = find_coupling(model), np.random.default_rng(seed)
    keep, share = np.ones(coupling.groups, np.bool_), rng.uniform(0.2, 1)
    for groups, _ in classes_of(coupling, candidate_groups(coupling, "coupled")):
        mine = np.clip(share + rng.uniform(-0.3, 0.3), NARROWEST, 1)
        keep[groups[max(STEP, round(len(groups) * mine / STEP) * STEP) :]] = False
    return cut(model, coupling, keep)


def milliseconds(table: LatencyTable, network: Detector) -> float:
    """What a table says that all convolutions of a network take."""
    layers = {path: network.get_submodule(path) for path in table.layers}
    return sum(table.layer_ms(path, m.in_channels, m.out_channels) for path, m in layers.items())  # type: ignore[arg-type, misc]


if __name__ == "__main__":
    main()
