"""Speed and size of pruned YOLOv5s: `python -m benchmarks.pruning` (about a minute; figures go to standard output).

Weights are the seeded recipe of the tests, so that anyone gets the same networks. All are exported to ONNX with
BatchNorm fused and timed in one run, one call each in turn, so that noise of a shared machine hits all alike.
"""

import argparse
import time

from tests.pruning.recipe import seed_batchnorms

from benchmarks.latency import interleaved
from yoloslim.models.detector import Detector, build_detector, count_macs, count_params
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut

IMGSZ = 512
PARAMS_40 = 0.4 * 7.073569
REQUESTS = {
    "source 50": PruneRequest(scope="source", percent=50, round_to=1),
    "coupled 50": PruneRequest(scope="coupled", percent=50, round_to=1),
    "coupled 50 round 8": PruneRequest(scope="coupled", percent=50, round_to=8),
    "coupled 50 round 16": PruneRequest(scope="coupled", percent=50, round_to=16),
    "coupled 50 round 16 by cost": PruneRequest(scope="coupled", percent=50, round_to=16, cost_power=0.25),
    "coupled 40 % of params round 16": PruneRequest(scope="coupled", target_params_m=PARAMS_40, round_to=16),
    "coupled 40 % of params round 16 by cost": PruneRequest(
        scope="coupled", target_params_m=PARAMS_40, round_to=16, cost_power=0.5
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=70, help="timed calls of each network")
    parser.add_argument("--threads", type=int, default=2, help="threads of the runtime")
    arguments = parser.parse_args()
    dense = build_detector("yolov5s", tuple(str(i) for i in range(20)), imgsz=IMGSZ).eval()
    seed_batchnorms(dense)
    networks, seconds = {"dense": dense}, {}
    for name, request in REQUESTS.items():
        start = time.perf_counter()
        networks[name] = pruned(dense, request)
        seconds[name] = time.perf_counter() - start
    times = interleaved(networks, IMGSZ, arguments.rounds, arguments.threads)
    print("| network | parameters | MACs | s to prune | median ms (p10-p90) | times as fast |")
    print("|:--|--:|--:|--:|--:|--:|")
    for name, network in networks.items():
        params = 100 * count_params(network) / count_params(dense)
        macs = 100 * count_macs(network, IMGSZ) / count_macs(dense, IMGSZ)
        took, ms = f"{seconds[name]:.2f}" if name in seconds else "", times[name]
        print(
            f"| {name} | {params:.1f} % | {macs:.1f} % | {took} | {ms.median_ms:.1f} ({ms.p10_ms:.1f}-{ms.p90_ms:.1f}) "
            f"| {ms.speedup:.2f} |"
        )


def pruned(dense: Detector, request: PruneRequest) -> Detector:
    """Traced, selected, cut and folded."""
    coupling = find_coupling(dense)
    return cut(dense, coupling, select_channels(dense, coupling, request).keep, fold=True)


if __name__ == "__main__":
    main()
