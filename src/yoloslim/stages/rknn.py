"""Stage `rknn`: an exported model compiled for a Rockchip NPU, calibrated on training images."""

import argparse
from functools import partial

from yoloslim.config import Params
from yoloslim.deploy.rockchip.compilation import RknnOptions, compile_rknn
from yoloslim.stages.common import MODELS, stage
from yoloslim.stages.inputs import training_sample


def run(params: Params, which: str) -> None:
    """Write models/rknn/<which>/<precision>."""
    r = params.rknn
    every = [RknnOptions(r.target, precision, r.hybrid_share) for precision in r.precisions]  # checked before any work
    images = training_sample(params, r.images) if set(r.precisions) != {"fp16"} else None
    for options in every:
        compile_rknn(MODELS / "export" / which, MODELS / "rknn" / which / options.precision, options, images)


def main() -> None:
    """Run the stage for one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--which", required=True, help="a percent, or `baseline`")
    stage(partial(run, which=parser.parse_args().which))
