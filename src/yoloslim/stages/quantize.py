"""Stage `quantize`: int8 versions of an exported model, calibrated on training images."""

import argparse
from functools import partial

from yoloslim.config import Params
from yoloslim.deploy.int8 import quantize
from yoloslim.deploy.runtimes import runtime_for_int8
from yoloslim.stages.common import MODELS, stage
from yoloslim.stages.inputs import training_sample


def run(params: Params, which: str) -> None:
    """Write models/quantize/<which>/<runtime>."""
    for runtime in params.quantize.runtimes:
        runtime_for_int8(runtime)  # before any work
    images = training_sample(params, params.quantize.images)
    for runtime in params.quantize.runtimes:
        quantize(MODELS / "export" / which, images, MODELS / "quantize" / which / runtime, runtime)


def main() -> None:
    """Run the stage for one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--which", required=True, help="a percent, or `baseline`")
    stage(partial(run, which=parser.parse_args().which))
