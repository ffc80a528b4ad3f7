"""The commands `import` and `export-darknet`: weights of other programs, in and out."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[Path, typer.Argument(help="model file (.safetensors), or one to import (.pt, .pth, .weights, .cfg)")]


def import_weights(
    source: Annotated[str, typer.Argument(help="weights file, or an http(s) address with #sha256=... behind it")],
    model: Annotated[str | None, typer.Option(help="architecture; default: told by the tensors or the cfg")] = None,
    classes: Annotated[str | None, typer.Option(help="names with commas between, or a file with one a line")] = None,
    cfg: Annotated[Path | None, typer.Option(help="of Darknet weights; default: the one beside them")] = None,
    imgsz: Annotated[int | None, typer.Option(help="side of the input, px; default: as the file tells, or 640")] = None,
    partial: Annotated[bool, typer.Option(help="let Darknet weights end early")] = False,
    out: Annotated[Path | None, typer.Option(help="where to; default: beside the weights")] = None,
) -> None:
    """Turn weights of YOLOv5, v8, 11, 26, a state dict or Darknet into a model file; runs nothing of the file."""
    import torch

    from yoloslim.config import DataParams
    from yoloslim.files import spare_inputs
    from yoloslim.models.detector import count_params
    from yoloslim.models.foreign.adapt import read_names, with_classes, with_imgsz
    from yoloslim.models.foreign.load import import_model
    from yoloslim.models.foreign.source import find_weights
    from yoloslim.models.store import model_name, save_model

    path = find_weights(source, Path(DataParams().download_dir))
    target = model_name(out or path.with_name(f"{path.stem}-imported"))
    spare_inputs(target, path)
    wanted = read_names(classes) if classes else None
    torch.manual_seed(0)  # what starts afresh is the same every time
    network = import_model(path, model, wanted, cfg, partial, imgsz)
    network = with_classes(network, wanted) if wanted else network
    network = with_imgsz(network, imgsz, lambda head, _: head) if imgsz else network
    save_model(network, target)
    spec = network.spec
    typer.echo(
        f"{target}: {spec.name}, {spec.nc} classes ({', '.join(spec.classes[:3])}{' ...' if spec.nc > 3 else ''}), "
        f"{spec.imgsz} px, {count_params(network) / 1e6:.3f} M parameters"
    )


def export_to_darknet(
    model: Model,
    out: Annotated[Path | None, typer.Option(help="name of the cfg; default: beside the model")] = None,
) -> None:
    """Write a YOLOv3 or YOLOv4, pruned or not, as .cfg, .weights and .names, to finetune it in Darknet."""
    from yoloslim.files import spare_inputs
    from yoloslim.models.foreign.darknet.writer import export_darknet
    from yoloslim.models.foreign.load import read_model

    cfg = (out or model).with_suffix(".cfg")
    for path in (cfg, cfg.with_suffix(".weights")):
        spare_inputs(path, model)
    for path in export_darknet(read_model(model), cfg):
        typer.echo(path)
