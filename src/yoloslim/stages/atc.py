"""Stage `atc`: compile for Ascend where ATC is installed; elsewhere write the command for a machine that has it."""

import argparse
from functools import partial
from pathlib import Path

from yoloslim.config import Params
from yoloslim.deploy.ascend.atc import AtcOptions, compile_model
from yoloslim.stages.common import MODELS, stage


def run(params: Params, which: str) -> None:
    """Write models/atc/<which>."""
    options = AtcOptions(**params.atc.model_dump(), aipp_input=params.ascend.aipp_input)
    compiled = Path(params.ascend.compiled) / which if params.ascend.compiled else None
    compile_model(MODELS / "export" / which, MODELS / "atc" / which, options, params.ascend.require, compiled)


def main() -> None:
    """Run the stage for one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--which", required=True, help="a percent, `baseline` or `control/dense`")
    stage(partial(run, which=parser.parse_args().which))
