"""Images a second with everything overlapped, against one after the other and the slowest part alone, in turn.

`python -m benchmarks.overlap MODEL IMAGES`, for example an export and a folder of photographs. On two cores 0.9 of what
the slowest part alone allows are owed. With several videos instead of a folder: `yoloslim speed A B C D --tile 2x2`.
"""

import argparse
from pathlib import Path

import numpy as np

from yoloslim.deploy.runtimes import open_predictor
from yoloslim.evaluation.inference import PredictorInference
from yoloslim.evaluation.nms import showing
from yoloslim.runner.tasks import measure, measure_overlapped
from yoloslim.tasks.sources import image_paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", help="a folder or list")
    parser.add_argument("--runtime", help="default: the usual one for the file")
    parser.add_argument("--threads", type=int, default=2, help="of inference, where images go one after the other")
    parser.add_argument("--rounds", type=int, default=5, help="turns of both")
    a = parser.parse_args()
    paths = image_paths(a.images)
    plain, overlapped = (open_predictor(a.model, a.runtime, a.threads) for _ in range(2))
    suppression = showing(plain.head)
    rows = []
    for turn in range(a.rounds + 1):
        one_by_one = measure(PredictorInference(plain, suppression), paths, warmup=1)
        together = measure_overlapped(PredictorInference(overlapped, suppression), paths)
        if turn:  # the first warms up
            rows.append([one_by_one["fps"], one_by_one["fps_slowest"], together, together / one_by_one["fps_slowest"]])
    fps, slowest, together, share = np.median(rows, axis=0)
    print(f"{len(paths)} images on {plain.backend}, median of {a.rounds} turns, images a second:")
    print(
        f"one after the other {fps:.1f}; the slowest part alone {slowest:.1f}; overlapped {together:.1f}: {share:.2f}"
    )


if __name__ == "__main__":
    main()
