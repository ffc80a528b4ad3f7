"""The command `quantize`: the int8 version of an export, for one runtime."""

from pathlib import Path
from typing import Annotated

import typer

from yoloslim.runner.headers import MEGAPIXELS, limit_megapixels
from yoloslim.tasks.commands import MaxMegapixels

WORST = 10
"""Layers that are shown, of those that were measured."""


def quantize(
    export_dir: Annotated[Path, typer.Argument(help="folder of an ONNX export")],
    images: Annotated[Path, typer.Argument(help="folder of pictures like those the model will see")],
    runtime: Annotated[
        str, typer.Option(help="what will run it: onnxruntime, openvino, ncnn, litert, tensorrt")
    ] = "onnxruntime",
    count: Annotated[int, typer.Option(min=1, help="pictures to use at most")] = 128,
    fp32_share: Annotated[
        float,
        typer.Option(
            min=0, max=0.9, help="onnxruntime, openvino, tensorrt: share of layers that stay fp32, those that lose most"
        ),
    ] = 0.0,
    max_megapixels: MaxMegapixels = MEGAPIXELS,
    out: Annotated[Path | None, typer.Option(help="folder to write; default: beside the export")] = None,
) -> None:
    """Write the int8 version of an export."""
    limit_megapixels(max_megapixels)
    from yoloslim.deploy.int8 import calibration_images
    from yoloslim.deploy.int8 import quantize as quantize_export

    target = out or export_dir.with_name(f"{export_dir.name}-int8-{runtime}")
    manifest = quantize_export(export_dir, calibration_images(images, export_dir, count), target, runtime, fp32_share)
    worst = sorted(manifest.losses.items(), key=lambda item: -item[1])[:WORST]
    for layer, loss in worst:
        typer.echo(f"{layer:32} {loss:9.4%} {'fp32' if layer in manifest.fp32_layers else 'int8'}")
    if worst:
        typer.echo(f"what int8 of one layer alone changes in the outputs; all {len(manifest.losses)} in manifest.json")
    pictures = f"{manifest.calibration_images} picture{'s' if manifest.calibration_images > 1 else ''}"
    source = f"{manifest.ranges_from}, {'others from ' if manifest.ranges else ''}{pictures}"
    typer.echo(f"{target}: {', '.join(manifest.files)}; ranges of activations from {source}")
