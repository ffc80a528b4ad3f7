"""Stage `atc`: compile for Ascend where ATC is installed; elsewhere write the command for a machine that has it."""

from pathlib import Path

from yoloslim.config import Params
from yoloslim.deploy.ascend.atc import AtcOptions, compile_model
from yoloslim.stages.common import MODELS, stage_of_model


def run(params: Params, which: str) -> None:
    """Write models/atc/<which>; that there is no compiler is explained once, with the baseline."""
    options = AtcOptions(**params.atc.model_dump(), aipp_input=params.ascend.aipp_input)
    compiled = Path(params.ascend.compiled) / which if params.ascend.compiled else None
    export, out, explain = MODELS / "export" / which, MODELS / "atc" / which, which == "baseline"
    compile_model(export, out, options, params.ascend.require, compiled, explain)


def main() -> None:
    """Run the stage for one model."""
    stage_of_model(run, __doc__, "a percent, `baseline` or `control/dense`")
