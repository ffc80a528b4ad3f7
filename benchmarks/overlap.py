"""Images a second with everything overlapped, against one after the other and the slowest part alone, in turn.

`python -m benchmarks.overlap MODEL IMAGES`, for example an export and a folder of photographs. On two cores 0.9 of what
the slowest part alone allows are owed, by `detect` (which `speed` measures, too) and by `eval`. The slowest part alone
has `--threads` threads, both cores by default; overlapped, two images are worked on by one thread each. With several
videos instead of a folder: `yoloslim speed A B C D --tile 2x2`.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from yoloslim.deploy.runtimes import open_predictor
from yoloslim.evaluation.inference import PredictorInference
from yoloslim.evaluation.nms import showing
from yoloslim.runner.tasks import Inference, boxes_of, measure, measure_overlapped
from yoloslim.tasks.sources import image_paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", help="a folder or list")
    parser.add_argument("--runtime", help="default: the usual one for the file")
    parser.add_argument("--threads", type=int, default=2, help="of inference, where images go one after the other")
    parser.add_argument("--rounds", type=int, default=5, help="turns of all")
    a = parser.parse_args()
    paths = image_paths(a.images)
    plain, of_detect, of_eval = (open_predictor(a.model, a.runtime, a.threads) for _ in range(3))
    suppression = showing(plain.head)
    rows = []
    for turn in range(a.rounds + 1):
        one_by_one = measure(PredictorInference(plain, suppression), paths, warmup=1)
        detecting = measure_overlapped(PredictorInference(of_detect, suppression), paths)
        evaluating = _evaluating(PredictorInference(of_eval, suppression), paths)
        if turn:  # the first warms up
            slowest = one_by_one["fps_slowest"]
            shares = [detecting / slowest, evaluating / slowest]
            rows.append([one_by_one["fps"], slowest, detecting, evaluating, *shares])
    fps, slowest, detecting, evaluating, *shares = np.median(rows, axis=0)
    print(f"{len(paths)} images on {plain.backend}, median of {a.rounds} turns, images a second:")
    print(f"one after the other {fps:.1f}; the slowest part alone, {a.threads} threads, {slowest:.1f}")
    print(f"overlapped: detect {detecting:.1f} ({shares[0]:.2f}), eval {evaluating:.1f} ({shares[1]:.2f})")


def _evaluating(inference: Inference, paths: list[Path]) -> float:
    """Images a second from file to detections as `eval` works."""
    start = time.perf_counter()
    count = sum(1 for _ in boxes_of(inference, paths))
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
