"""The command `compile`: any ONNX export, one's own or another tool's, for a chip of Ascend or Rockchip."""

from pathlib import Path
from typing import Annotated

import typer

from yoloslim.choices import AippInput, PrecisionMode, RknnPrecision
from yoloslim.errors import DeployError
from yoloslim.tasks.options import refuse, typed

FOR_ASCEND = ("soc_version", "aipp_input", "precision_mode", "batch_gear", "enable_small_channel", "timeout_s")
FOR_ROCKCHIP = ("precision", "images", "count", "hybrid_share")


def compile_export(
    context: typer.Context,
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
    target: Annotated[str, typer.Option(help="chip of Rockchip, such as rk3588, instead of Ascend's")] = "",
    precision: Annotated[
        RknnPrecision, typer.Option(help="--target: arithmetic; hybrid is int8 with some fp16")
    ] = "fp16",
    images: Annotated[Path | None, typer.Option(help="--target: pictures to calibrate int8 and hybrid with")] = None,
    count: Annotated[int, typer.Option(min=1, help="--target: of these pictures at most")] = 128,
    hybrid_share: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="--target: layers that hybrid leaves in fp16")
    ] = 0.1,
) -> None:
    """Write a bundle for Ascend boards; compile it here if ATC is here, else with atc.sh in the folder.

    With --target: a folder for a Rockchip NPU, compiled here by its toolchain.
    """
    if target:
        refuse(
            typed(context, *FOR_ASCEND, "compiled", "require"),
            f"is for Ascend, and --target {target} is of Rockchip; leave one out",
        )
        if precision == "fp16":
            refuse(typed(context, "images", "count"), "is for --precision int8 or hybrid: fp16 needs no calibration")
        if precision != "hybrid":
            refuse(typed(context, "hybrid_share"), "is for --precision hybrid; add that")
        where = out or export.with_name(f"{export.name}-{target}")
        typer.echo(_for_rockchip(export, where, (target, precision, hybrid_share), images, count))
        return
    refuse(typed(context, *FOR_ROCKCHIP), "is for a chip of Rockchip: name it, --target rk3588")
    from yoloslim.config import parse_params
    from yoloslim.deploy.ascend.atc import AtcOptions, compile_model
    from yoloslim.deploy.ascend.bundle import COMPILED

    chosen = {
        "soc_version": soc_version,
        "precision_mode": precision_mode,
        "batch_gears": batch_gear or [],
        "enable_small_channel": enable_small_channel,
        "timeout_s": timeout_s,
    }
    atc = parse_params({"atc": chosen}, "the command line").atc
    folder = out or export.with_name(f"{export.name}-ascend")
    result = compile_model(export, folder, AtcOptions(**atc.model_dump(), aipp_input=aipp_input), require, compiled)
    if compiled and result.om_sha256 != _sum_of(compiled / COMPILED):
        raise DeployError(f"{compiled} was not taken, as told above; {folder} holds the bundle without it")
    typer.echo(f"{folder}: {result.om or 'not compiled yet, atc.sh does it'}, for {soc_version}")


def _sum_of(path: Path) -> str:
    """SHA-256 of a file; empty where there is none."""
    from yoloslim.files import sha256_file

    return sha256_file(path) if path.is_file() else ""


def _for_rockchip(
    export: Path, out: Path, chosen: tuple[str, RknnPrecision, float], images: Path | None, count: int
) -> str:
    """Compile for a chip of Rockchip; what came of it, for people."""
    from yoloslim.deploy.int8 import calibration_images
    from yoloslim.deploy.rockchip.compilation import COMPILED, RknnOptions, compile_rknn

    options = RknnOptions(*chosen)
    pictures = calibration_images(images, export, count) if images and options.precision != "fp16" else None
    result = compile_rknn(export, out, options, pictures)
    ranges = f"; ranges of activations from {result.ranges_from}" if result.ranges_from else ""
    return f"{out}: {COMPILED}, {result.size_mb:.2f} MB, for {result.chip} in {result.precision}{ranges}"
