"""Speed and size of pruned YOLOv5s: `python -m benchmarks.pruning` (about a minute; figures go to standard output).

Weights are the seeded recipe of the tests, so that anyone gets the same networks. All are exported to ONNX with
BatchNorm fused and timed in one run, one call each in turn, so that noise of a shared machine hits all alike.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from tests.pruning.recipe import seed_batchnorms

from yoloslim.models.detector import Detector, build_detector, count_macs, count_params, fuse
from yoloslim.pruning.labels import label_channels
from yoloslim.pruning.request import PruneRequest
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut

IMGSZ = 512
PARAMS_40 = 0.4 * 7.073569
REQUESTS = {
    "source 50": PruneRequest(scope="source", percent=50),
    "coupled 50": PruneRequest(scope="coupled", percent=50),
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
    networks = {"dense": dense} | {name: pruned(dense, request) for name, request in REQUESTS.items()}
    times = interleaved_ms(networks, arguments.rounds, arguments.threads)
    for name, network in networks.items():
        row = {
            "network": name,
            "params_percent": round(100 * count_params(network) / count_params(dense), 1),
            "macs_percent": round(100 * count_macs(network, IMGSZ) / count_macs(dense, IMGSZ), 1),
            "median_ms": round(float(np.median(times[name])), 2),
            "p10_ms": round(float(np.percentile(times[name], 10)), 2),
            "p90_ms": round(float(np.percentile(times[name], 90)), 2),
            "speedup": round(float(np.median(np.divide(times["dense"], times[name]))), 2),  # paired, turn by turn
        }
        print(json.dumps(row))


def pruned(dense: Detector, request: PruneRequest) -> Detector:
    start = time.perf_counter()
    labels = label_channels(dense)
    small = cut(dense, labels, select_channels(dense, labels, request).keep, fold=True)
    print(json.dumps({"traced, selected, cut and folded in s": round(time.perf_counter() - start, 3)}))
    return small


def interleaved_ms(networks: dict[str, Detector], rounds: int, threads: int) -> dict[str, list[float]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    x = torch.rand(1, 3, IMGSZ, IMGSZ)
    sessions = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, network in networks.items():
            path = str(Path(folder) / "m.onnx")
            torch.onnx.export(fuse(network), (x,), path, dynamo=False, opset_version=13, input_names=["images"])
            sessions[name] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    times: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(rounds + 5):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(None, {"images": x.numpy()})
            if turn >= 5:
                times[name].append((time.perf_counter() - start) * 1000)
    return times


if __name__ == "__main__":
    main()
