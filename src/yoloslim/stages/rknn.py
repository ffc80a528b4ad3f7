"""Stage `rknn`: an exported model compiled for a Rockchip NPU, calibrated on training images."""

from yoloslim.config import Params
from yoloslim.deploy.rockchip.compilation import RknnOptions, compile_rknn
from yoloslim.stages.common import MODELS, stage_of_model
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
    stage_of_model(run, __doc__, "a percent, or `baseline`")
