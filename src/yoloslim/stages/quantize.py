"""Stage `quantize`: int8 versions of an exported model, calibrated on training images."""

from yoloslim.config import Params
from yoloslim.deploy.int8 import quantize
from yoloslim.deploy.runtimes import runtime_for_int8, runtime_for_mixed
from yoloslim.stages.common import MODELS, stage_of_model
from yoloslim.stages.inputs import training_sample


def run(params: Params, which: str) -> None:
    """Write models/quantize/<which>/<runtime>."""
    for runtime in params.quantize.runtimes:
        (runtime_for_mixed if params.quantize.fp32_share else runtime_for_int8)(runtime)  # before any work
    images = training_sample(params, params.quantize.images)
    for runtime in params.quantize.runtimes:
        out = MODELS / "quantize" / which / runtime
        quantize(MODELS / "export" / which, images, out, runtime, params.quantize.fp32_share)


def main() -> None:
    """Run the stage for one model."""
    stage_of_model(run, __doc__, "a percent, or `baseline`")
