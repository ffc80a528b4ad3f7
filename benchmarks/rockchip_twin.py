"""The Rockchip twin against the simulator: `python -m benchmarks.rockchip_twin EXPORT ... --data DATA`.

Minutes. Of exported models in every precision: change of mAP from the exported graph in float32, as the twin predicts
it, effect by effect, and as rknn-toolkit2's simulator finds it on the same test images. Needs
`yoloslim toolchain install rockchip`.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from yoloslim.choices import RknnPrecision
from yoloslim.data.evalset import load_eval_set
from yoloslim.data.voc import load_split
from yoloslim.deploy.rockchip.compilation import RknnOptions, compile_rknn
from yoloslim.deploy.rockchip.effects import TITLES
from yoloslim.deploy.rockchip.twin import predict_npu
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.nms import NmsOptions

PRECISIONS: tuple[RknnPrecision, ...] = ("fp16", "int8", "hybrid")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exports", nargs="+", type=Path, help="folders of ONNX exports, such as models/export/50")
    parser.add_argument("--data", type=Path, required=True, help="folder in VOC layout with the splits train and test")
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    parser.add_argument("--chip", default="rk3588")
    a = parser.parse_args()
    titles = " | ".join(f"{title}: mAP50, mAP50-95" for title in TITLES.values())
    print(f"| model | precision | {titles} | simulator | apart, mAP50 |")
    print("|:--|:--|--:|--:|--:|--:|--:|")
    for export in a.exports:
        for precision in a.precisions:
            with tempfile.TemporaryDirectory() as folder:
                print(_line(export, a.data, RknnOptions(a.chip, precision), Path(folder)), flush=True)


def _line(export: Path, data: Path, options: RknnOptions, folder: Path) -> str:
    train, test = load_split(data, "train"), load_split(data, "test")
    size = open_predictor(export).imgsz
    images = load_eval_set(train, size, folder / "cache").images
    chosen = images[np.random.default_rng(0).permutation(len(train))[:128]]
    compile_rknn(export, folder / "npu", options, chosen)
    predicted = predict_npu(folder / "npu", test, NmsOptions(), len(test), 1)
    eval_set = load_eval_set(test, size, folder / "cache")
    found = [evaluate(open_predictor(folder / "npu", name), eval_set).metrics for name in ("rknn", "onnxruntime")]
    simulated = {key: found[0][key] - found[1][key] for key in ("map50", "map50_95")}
    cells = [_numbers(predicted[name]) if name in predicted else "" for name in TITLES]
    apart = abs(predicted["board"]["map50"] - simulated["map50"])
    return f"| {export.name} | {options.precision} | {' | '.join(cells)} | {_numbers(simulated)} | {apart:.4f} |"


def _numbers(change: dict[str, float]) -> str:
    return f"{change['map50']:+.4f}, {change['map50_95']:+.4f}"


if __name__ == "__main__":
    main()
