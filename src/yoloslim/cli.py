"""The `yoloslim` command: look at a stored model, prune it, export it, run it, without a pipeline around it."""

# Commands import what they need themselves: PyTorch takes seconds, and `eval` of an exported model does without it.

import logging
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from yoloslim import __version__
from yoloslim.choices import Branch, LatencyPlace, Outputs, Weights
from yoloslim.data.command import app as data_commands
from yoloslim.errors import Interrupted, YoloslimError
from yoloslim.extras import or_advice
from yoloslim.prune_request import (
    ChannelSelection,
    GroupScore,
    Importance,
    Normalise,
    PruneRequest,
    Scope,
    check_by_budget,
    check_typed,
    option,
)
from yoloslim.quiet import hush
from yoloslim.runner.errors import RunnerError
from yoloslim.tasks.commands import detect, doctor, evaluate, speed, train
from yoloslim.tasks.compile import compile_export
from yoloslim.tasks.foreign_weights import Model, export_to_darknet, import_weights
from yoloslim.tasks.options import own_cores, refuse, refuse_empty, typed
from yoloslim.tasks.quantize import quantize
from yoloslim.tasks.show import features, models, preset
from yoloslim.tasks.toolchain import app as toolchain_commands
from yoloslim.terminal import sentence, write_anything

app = typer.Typer(name="yoloslim", help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(train)
app.command()(detect)
app.command()(speed)
app.command("eval")(evaluate)
app.command()(doctor)
app.command("compile")(compile_export)
app.command()(quantize)
app.command()(models)
app.command()(preset)
app.command()(features)
app.command("import")(import_weights)
app.command("export-darknet")(export_to_darknet)
app.add_typer(data_commands, name="data")
app.add_typer(toolchain_commands, name="toolchain")


def main() -> None:
    """Run the command; errors made for people are printed without a traceback."""
    write_anything()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    hush()
    try:
        with or_advice():
            refuse_empty(sys.argv[1:])
            app(prog_name="yoloslim")
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.exit_code)
    except (YoloslimError, RunnerError) as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        if not (said := sentence(error)):
            raise
        sys.exit(f"error: {said}")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"yoloslim {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print it")
    ] = False,
) -> None:
    """Options that stand before a command."""


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="new folder, or one without files of these names")]) -> None:
    """Start a project: stages, parameters and scripts, with Git and DVC; nothing is overwritten."""
    from yoloslim.deploy.quoting import quote
    from yoloslim.project import init_project

    written = init_project(folder)
    typer.echo(f"{folder}: {len(written)} files, Git and DVC\nNext: cd {quote(str(folder))} && dvc repro")


@app.command()
def inspect(model: Model, layers: Annotated[bool, typer.Option(help="show every layer")] = False) -> None:
    """Show layers, groups, scales, and how far a model can be pruned."""
    from yoloslim.tasks.inspect_file import inspect_file

    inspect_file(model, layers)


DEFAULTS = PruneRequest()


def asked(name: str, *spellings: str) -> Any:
    """An option of the command line that `PruneRequest` explains."""
    return typer.Option(*spellings, help=option(name).help)


@app.command()
def prune(
    context: typer.Context,
    model: Model,
    percent: Annotated[float, asked("percent")] = DEFAULTS.percent,
    scope: Annotated[Scope, asked("scope")] = DEFAULTS.scope,
    importance: Annotated[
        Literal[Importance, "auto"],
        typer.Option(help=f"{option('importance').help}; auto: gamma, with --data l2 unless a penalty shrank scales"),
    ] = "auto",
    normalise: Annotated[
        Literal[Normalise, "auto"],
        typer.Option(help=f"{option('normalise').help}; auto: mean for l1, l2, taylor with --data, else none"),
    ] = "auto",
    group_score: Annotated[GroupScore, asked("group_score")] = DEFAULTS.group_score,
    min_channels: Annotated[int, asked("min_channels")] = DEFAULTS.min_channels,
    layer_keep: Annotated[float, asked("layer_keep")] = DEFAULTS.layer_keep,
    round_to: Annotated[int, asked("round_to")] = DEFAULTS.round_to,
    cost_power: Annotated[float, asked("cost_power")] = DEFAULTS.cost_power,
    target_params_m: Annotated[float | None, asked("target_params_m")] = DEFAULTS.target_params_m,
    target_gflops: Annotated[float | None, asked("target_gflops")] = DEFAULTS.target_gflops,
    target_latency_ms: Annotated[float | None, asked("target_latency_ms")] = DEFAULTS.target_latency_ms,
    target_speedup: Annotated[float | None, asked("target_speedup")] = DEFAULTS.target_speedup,
    residual_units: Annotated[int, asked("residual_units")] = DEFAULTS.residual_units,
    fold: Annotated[bool, asked("fold")] = DEFAULTS.fold,
    ignored_layers: Annotated[list[str] | None, asked("ignored_layers", "--ignore")] = None,
    data: Annotated[Path | None, typer.Option(help="data set or pictures to make up for the cut with")] = None,
    layout: Annotated[str, typer.Option(help="of --data: auto, voc, yolo, coco, cvat, labelme")] = "auto",
    images: Annotated[int, typer.Option(help="training images of --data to look at")] = 128,
    fit: Annotated[
        bool, typer.Option("--fit/--no-fit", help="fit layers to what they gave; else re-estimate BatchNorm statistics")
    ] = True,
    selection: Annotated[
        ChannelSelection,
        typer.Option(help="percent: one threshold over all layers; flops, latency: what loses least within them"),
    ] = "percent",
    latency_table: Annotated[
        Path | None, typer.Option(help="of this machine, for --selection latency; default: measured once, then kept")
    ] = None,
    runtime: Annotated[
        LatencyPlace, typer.Option(help="what milliseconds are measured on; ascend compiles with ATC and asks --board")
    ] = "onnxruntime",
    threads: Annotated[
        int, typer.Option(help="CPU threads that milliseconds are measured with", min=1, callback=own_cores)
    ] = 1,
    board: Annotated[str, typer.Option(help="of --runtime ascend: local, or ssh://user@host:port/folder")] = "local",
    soc_version: Annotated[str, typer.Option(help="of --runtime ascend: the chip")] = "Ascend310",
    set_env: Annotated[str, typer.Option(help="of --runtime ascend: CANN's script there; default: usual places")] = "",
    out: Annotated[Path | None, typer.Option(help="where to; default: beside the model")] = None,
) -> None:
    """Cut channels out of a stored model, prove the cut exact, and write model and report.

    With --selection latency the percent is one of the latency: 40 leaves a network that takes 60 % of the time. With
    --selection flops it is one of the FLOPs.
    With --data the cut network is made up for the cut without training, from some images; boxes are used to say what it
    finds before and after.
    """
    choices: dict[str, Any] = {k: v for k, v in locals().items() if k in PruneRequest.__dataclass_fields__}
    del choices["importance"], choices["normalise"]  # which may be `auto`
    choices["ignored_layers"] = tuple(ignored_layers or ())
    percent_typed = bool(typed(context, "percent"))
    check_typed({name: value for name, value in choices.items() if name != "percent" or percent_typed})
    if data is None:
        refuse(typed(context, "layout", "images", "fit"), "says how --data is used, and no --data is given; add it")
    check_by_budget(selection, choices)
    if selection != "latency":
        refuse(typed(context, "latency_table"), "is for --selection latency; add that")
    if target_latency_ms is None and target_speedup is None and selection != "latency":
        why = "says how milliseconds are measured; add --target-latency-ms or --target-speedup, which ask for them"
        refuse(typed(context, "runtime", "threads"), why)
    if runtime == "ascend":
        refuse(typed(context, "threads"), "is of this machine's CPU, and --runtime ascend measures on a chip")
    else:
        refuse(typed(context, "board", "soc_version", "set_env"), "is for --runtime ascend; add that")
    request = PruneRequest(**choices)
    from yoloslim.deploy.timed_prune import Timing
    from yoloslim.tasks.prune_file import Ranking, Settling, prune_file

    device = None
    if runtime == "ascend":
        from yoloslim.deploy.ascend.clock import named_board

        device = named_board(board, set_env, soc_version=soc_version)
    timing = Timing(runtime, threads, selection, latency_table, device)
    settling, ranking = Settling(data, layout, images, fit), Ranking(importance, normalise)
    for line in prune_file(model, request, out, settling, timing, ranking):
        typer.echo(line)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def sweep(context: typer.Context) -> None:
    """Find the percent to ship; the section `sweep:` of params.yaml says what is wanted. --help shows options."""
    from yoloslim.orchestration.command import main as run

    run(context.args)


@app.command()
def export(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            help="model file (.safetensors), one to import (.pt, .weights), or an .onnx of another tool with --like"
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="folder to write; default: beside the model")] = None,
    file_format: Annotated[
        str, typer.Option("--format", help="what will read it: onnx, openvino, ncnn, litert, tensorrt")
    ] = "onnx",
    weights: Annotated[Weights, typer.Option(help="what weights are stored in; fp16 not for onnx")] = "fp32",
    opset: Annotated[int, typer.Option(help="ONNX operator set, 11 to 18")] = 11,
    batch: Annotated[int, typer.Option(help="images a call; 0 leaves it open")] = 1,
    outputs: Annotated[Outputs, typer.Option(help="logits, boxes and scores, or detections")] = "raw",
    branch: Annotated[Branch | None, typer.Option(help="of YOLO26: which answers; one_to_many needs NMS")] = None,
    conf_thres: Annotated[float, typer.Option(help="nms: lowest score")] = 0.25,
    iou_thres: Annotated[float, typer.Option(help="nms: overlap above which the worse box goes")] = 0.45,
    max_det: Annotated[int, typer.Option(help="nms: detections of one class in one image; end2end: in all")] = 300,
    like: Annotated[Path | None, typer.Option(help="model with the classes and anchors of an .onnx")] = None,
) -> None:
    """Write a model for a runtime, compared with PyTorch, with its manifest."""
    from yoloslim.deploy.export_model import export_model
    from yoloslim.deploy.foreign import import_onnx
    from yoloslim.deploy.onnx import ExportOptions
    from yoloslim.evaluation.nms import NmsOptions
    from yoloslim.models.foreign.adapt import with_branch
    from yoloslim.models.foreign.load import read_model
    from yoloslim.ranges import load as load_ranges

    target = out or model.parent / f"{model.stem}-{file_format}"
    if like is None and model.suffix == ".onnx":
        raise YoloslimError(
            f"{model} is exported already; `--like MODEL` takes in an .onnx of another tool, with the classes and "
            "anchors of MODEL"
        )
    thresholds = ("conf_thres", "iou_thres", "max_det")
    if like is not None:
        given = typed(context, "file_format", "opset", "batch", "outputs", "branch", *thresholds)
        refuse(
            ["format" if name == "file_format" else name for name in given],
            "does nothing beside --like, which takes a graph as it is; leave it out",
        )
        manifest = import_onnx(model, like, target)
    else:
        idle = {"nms": (), "end2end": thresholds[:2]}.get(outputs, thresholds)
        refuse(typed(context, *idle), f"does nothing with --outputs {outputs}; --outputs nms takes it")
        nms = NmsOptions(conf_thres, iou_thres, max_det)
        network = with_branch(read_model(model), branch) if branch else read_model(model)
        trained = {} if branch else load_ranges(model)  # those of the branch that it was trained to answer with
        manifest = export_model(
            network, target, ExportOptions(opset, batch, outputs, nms), file_format, weights, trained
        )
    typer.echo(f"{target}: {', '.join(manifest.files)}")


if __name__ == "__main__":
    main()
