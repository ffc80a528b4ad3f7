"""The command `compile`: an Ascend bundle from any ONNX export, one's own or another tool's, without the pipeline."""

from pathlib import Path
from typing import Annotated

import typer

from yoloslim.choices import AippInput, PrecisionMode


def compile_export(
    export: Annotated[Path, typer.Argument(help="folder of an ONNX export with raw outputs")],
    out: Annotated[Path | None, typer.Option(help="folder to write; default: beside the export")] = None,
    soc_version: Annotated[str, typer.Option(help="chip: `npu-smi info`, Ascend in front")] = "Ascend310",
    aipp_input: Annotated[AippInput, typer.Option(help="what the device will be fed")] = "nv12",
    precision_mode: Annotated[PrecisionMode, typer.Option(help="arithmetic of the chip")] = "force_fp16",
    batch_gear: Annotated[list[int] | None, typer.Option(help="batch size to switch to; two or more, or none")] = None,
    enable_small_channel: Annotated[bool, typer.Option(help="faster first convolution")] = True,
    timeout_s: Annotated[int, typer.Option(help="seconds after which the compiler is stopped")] = 3600,
    compiled: Annotated[Path | None, typer.Option(help="such a folder, compiled elsewhere and copied back")] = None,
    require: Annotated[bool, typer.Option("--require", help="a missing compiler is an error")] = False,
) -> None:
    """Write a bundle for Ascend boards; compile it here if ATC is here, else with atc.sh in the folder."""
    from yoloslim.config import parse_params
    from yoloslim.deploy.ascend.atc import AtcOptions, compile_model

    chosen = {
        "soc_version": soc_version,
        "precision_mode": precision_mode,
        "batch_gears": batch_gear or [],
        "enable_small_channel": enable_small_channel,
        "timeout_s": timeout_s,
    }
    atc = parse_params({"atc": chosen}, "the command line").atc
    target = out or export.with_name(f"{export.name}-ascend")
    result = compile_model(export, target, AtcOptions(**atc.model_dump(), aipp_input=aipp_input), require, compiled)
    typer.echo(f"{target}: {result.om or 'not compiled yet, atc.sh does it'}, for {soc_version}")
