"""The commands `detect`, `speed` and `eval`, with the arguments that `run.sh` has on a board; `train` and `doctor`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from yoloslim.choices import Precision
from yoloslim.runner.headers import MEGAPIXELS, limit_megapixels
from yoloslim.tasks.options import own_cores, refuse, typed

logger = logging.getLogger(__name__)

Model = Annotated[
    Path,
    typer.Argument(
        help="file (.safetensors, .pt, .weights, .onnx, .xml, .param, .tflite, .om, .rknn), or folder of an export"
    ),
]
Sources = Annotated[
    list[str],
    typer.Argument(
        help="image, folder, list of images (.txt) with the folder they are in (default: beside the list), or videos, "
        "numbers and rtsp:// addresses of cameras, several at once"
    ),
]
Batch = Annotated[int, typer.Option(help="videos and cameras: frames a call of the network", min=1, max=1024)]
Tile = Annotated[str | None, typer.Option(help="splice so many streams into one picture, rows x columns, such as 2x2")]
Backend = Annotated[str | None, typer.Option(help="runtime, such as onnxruntime; default: the usual one for the file")]
Precise = Annotated[Precision, typer.Option(help="what pytorch and openvino compute in")]
MaxMegapixels = Annotated[float, typer.Option(help="larger pictures are not decoded, millions of pixels", min=0.001)]
Threads = Annotated[
    int | None, typer.Option(help="CPU threads; default: the runtime's choice", min=1, callback=own_cores)
]


def detect(
    context: typer.Context,
    model: Model,
    source: Sources,
    runtime: Backend = None,
    threads: Threads = None,
    precision: Precise = "fp32",
    max_megapixels: MaxMegapixels = MEGAPIXELS,
    conf: Annotated[float | None, typer.Option(help="lowest score that is drawn, 0 to below 1; default: 0.25")] = None,
    iou: Annotated[
        float | None, typer.Option(help="overlap above which the worse box goes, 0 to 1; default: 0.45")
    ] = None,
    frames: Annotated[int | None, typer.Option(help="video or camera: stop after so many of each", min=1)] = None,
    batch: Batch = 1,
    tile: Tile = None,
    classes: Annotated[
        list[str] | None, typer.Option(help="names or numbers of the classes to keep, with commas; default: all")
    ] = None,
    save_txt: Annotated[bool, typer.Option("--save-txt", help="boxes as labels/NAME.txt, as YOLO has them")] = False,
    crops: Annotated[bool, typer.Option("--crops", help="every box cut out, as crops/CLASS/NAME-NUMBER.jpg")] = False,
    out: Annotated[Path, typer.Option(help="where to")] = Path("image_result"),
) -> None:
    """Draw boxes: every image to image_result/, each video or camera to image_result/<name>.mp4."""
    from yoloslim.deploy.runtimes import open_predictor
    from yoloslim.evaluation.inference import PredictorInference
    from yoloslim.evaluation.nms import showing
    from yoloslim.runner.output import Output
    from yoloslim.tasks.detect import detect_images
    from yoloslim.tasks.sources import image_paths, is_stream, split_sources
    from yoloslim.tasks.streams import detect_streams, way_of

    limit_megapixels(max_megapixels)
    sources, image_dir = split_sources(source)
    way = way_of(sources, batch, tile)
    if not is_stream(sources[0]):
        refuse(typed(context, "frames"), f"is for videos and cameras, and {sources[0]} is none")
    predictor = open_predictor(model, runtime, threads, precision)
    inference = PredictorInference(predictor, showing(predictor.head, conf, iou), threads)
    output = Output(out, inference.classes, classes or (), save_txt, crops)
    if is_stream(sources[0]):
        done = detect_streams(inference, sources, output, way, frames)
    else:
        done = detect_images(inference, image_paths(sources[0], image_dir), output)
    typer.echo(f"{done['images']} images, {done['boxes']} boxes, on {inference.backend}: {out}/")


def train(
    data: Annotated[Path, typer.Argument(help="folder, archive (tar, zip), data.yaml or JSON, as `data check` reads")],
    model: Annotated[str, typer.Option(help="name (`yoloslim models` lists them), or a file of weights")] = "yolov5n",
    out: Annotated[Path, typer.Option(help="folder to write, of this training alone")] = Path("trained"),
    epochs: Annotated[int | None, typer.Option(help="passes over the images; default: as params.yaml")] = None,
    imgsz: Annotated[int | None, typer.Option(help="side of the input, px; default: of the weights, or 640")] = None,
    batch: Annotated[int | None, typer.Option(help="images a step; default: as params.yaml")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    layout: Annotated[str, typer.Option(help="of the data: auto, voc, yolo, coco, cvat, labelme")] = "auto",
    seed: Annotated[int, typer.Option(help="of every random number", min=0)] = 0,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE of section train, baseline or data of params.yaml, such as lr0=0.01"),
    ] = None,
    profile: Annotated[bool, typer.Option(help="write where the time of a step goes: profile.md, a trace")] = False,
) -> None:
    """Train a detector on a folder of images and boxes; given again after Ctrl-C, it goes on from there."""
    from yoloslim.data.summary import show
    from yoloslim.deploy.quoting import quote
    from yoloslim.documents import parse_yaml
    from yoloslim.errors import ConfigError
    from yoloslim.models.detector import count_params
    from yoloslim.tasks.train_folder import Request, train_folder

    options = {} if batch is None else {"batch": batch}
    for text in option or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text} names no value; write --set KEY=VALUE")
        options[key.strip().rpartition(".")[2]] = parse_yaml(value, f"--set {text}")
    request = Request(model, data, layout, epochs, imgsz, device, seed, options, profile)
    done = train_folder(request, out, show)
    if not done.metrics:
        return  # of several processes one measures, and speaks for all
    spec, metrics = done.model.spec, done.metrics
    typer.echo(
        f"{done.path}: {spec.name}, {spec.nc} classes, {spec.imgsz} px, {count_params(done.model) / 1e6:.3f} M "
        f"parameters, epoch {done.kept_epoch} of {len(done.history)}; on the test images mAP50 {metrics['map50']:.4f}, "
        f"mAP50-95 {metrics['map50_95']:.4f}\nNext: yoloslim prune {quote(str(done.path))} --percent 50"
    )


def speed(
    context: typer.Context,
    model: Model,
    source: Sources,
    runtime: Backend = None,
    threads: Threads = None,
    precision: Precise = "fp32",
    max_megapixels: MaxMegapixels = MEGAPIXELS,
    warmup: Annotated[int, typer.Option(help="passes before the clock starts", min=0)] = 5,
    conf: Annotated[
        float | None, typer.Option(help="lowest score that is kept, as detect has it; default: 0.25", min=0, max=0.99)
    ] = None,
    frames: Annotated[int, typer.Option(help="videos and cameras: frames of each that are timed", min=1)] = 100,
    batch: Batch = 1,
    tile: Tile = None,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures")] = None,
) -> None:
    """Time decoding, resizing, inference and post-processing, image by image; no picture is written.

    Of videos and cameras: frames a second one by one and, if asked for, in batches and spliced into one picture.
    """
    import numpy as np

    from yoloslim.deploy.ascend.predictors import AisBenchPredictor
    from yoloslim.deploy.runtimes import open_predictor
    from yoloslim.evaluation.inference import PredictorInference
    from yoloslim.evaluation.nms import NmsOptions, describe_suppression, showing
    from yoloslim.files import write_json
    from yoloslim.runner import damage
    from yoloslim.runner.tasks import measure, measure_overlapped, speed_lines
    from yoloslim.tasks.sources import image_paths, is_stream, split_sources
    from yoloslim.tasks.streams import speed_of_streams, way_of

    limit_megapixels(max_megapixels)
    sources, image_dir = split_sources(source)
    way, streams = way_of(sources, batch, tile), is_stream(sources[0])
    idle = typed(context, "warmup" if streams else "frames")
    refuse(idle, f"is for {'images' if streams else 'videos and cameras'}, and {sources[0]} is none")
    predictor = open_predictor(model, runtime, threads, precision)
    if streams:
        of_streams = speed_of_streams(
            PredictorInference(predictor, showing(predictor.head, conf), threads), sources, way, frames
        )
        if out:
            write_json(out, of_streams)
        for name, value in of_streams["fps"].items():
            typer.echo(f"{name:16} {value:8.1f} frames/s")
        typer.echo(f"{len(sources)} streams, from file to boxes, median of turns, on {predictor.backend}")
        return
    context.with_resource(damage.told(logger.warning))
    paths, shown, counted = image_paths(sources[0], image_dir), showing(predictor.head, conf), NmsOptions()
    result = measure(PredictorInference(predictor, shown), paths, warmup) | {"conf": shown.conf_thres}
    lines = []
    if predictor.head.needs_nms:
        as_counted = measure(PredictorInference(predictor, counted), paths, warmup)["stages"]["postprocess"]
        result["postprocess_as_evaluation_ms"] = as_counted
        lines.append(
            f"postprocess at confidence {shown.conf_thres:g}; at {counted.conf_thres:g}, as evaluation counts: "
            f"{as_counted['p50']:.2f} ms (p50)"
        )
    else:
        lines.append(f"suppression: {describe_suppression(predictor.head, shown)}")
    if isinstance(predictor, AisBenchPredictor):
        result["chip_ms"] = float(np.median(predictor.compute_ms()[-result["images"] :]))
        lines.append(f"the chip alone, without copies: {result['chip_ms']:.2f} ms (p50)")
    result["fps_overlapped"] = measure_overlapped(PredictorInference(predictor, shown, threads), paths)
    if out:
        write_json(out, result)
    typer.echo("\n".join([*speed_lines(result), *lines]))


def evaluate(
    model: Model,
    dataset: Annotated[Path, typer.Argument(help="data set of any layout, such as VOCdevkit/ or data.yaml")],
    image_set: Annotated[str, typer.Option(help="a file in ImageSets/Main; else train, val or test")] = "test",
    layout: Annotated[str, typer.Option(help="of the data: auto, voc, yolo, coco, cvat, labelme")] = "auto",
    runtime: Backend = None,
    threads: Threads = None,
    precision: Precise = "fp32",
    max_megapixels: MaxMegapixels = MEGAPIXELS,
    single_label: Annotated[bool, typer.Option(help="one class a cell, as the MindX SDK decides")] = False,
    out: Annotated[Path, typer.Option(help="where to")] = Path("txt_result"),
) -> None:
    """Write VOC result files to txt_result/ and print mAP by VOC2007 and COCO rules."""
    from yoloslim.deploy.runtimes import open_predictor
    from yoloslim.evaluation.inference import PredictorInference
    from yoloslim.evaluation.nms import NmsOptions, describe_suppression
    from yoloslim.tasks.evaluate_dataset import evaluate_dataset

    limit_megapixels(max_megapixels)
    options = NmsOptions(multi_label=not single_label)
    predictor = open_predictor(model, runtime, threads, precision)
    inference = PredictorInference(predictor, options, threads)
    result = evaluate_dataset(inference, dataset, image_set, out, layout)
    for name, of_class in result.per_class.items():
        shown = f"AP50 {of_class['ap50']:.4f}  AP50-95 {of_class['ap50_95']:.4f}  {of_class['objects']:.0f} objects"
        typer.echo(f"{name:16} {shown}")
    for name, value in result.metrics.items():
        typer.echo(f"{name:16} {value:.4f}")
    typer.echo(f"suppression: {describe_suppression(predictor.head, options)}")
    typer.echo(f"{len(result.detections)} images on {inference.backend}; result files in {out}/")


def doctor(
    params: Annotated[Path, typer.Option(help="params.yaml, for the board; its defaults where it is missing")] = Path(
        "params.yaml"
    ),
) -> None:
    """Try every runtime, look for CANN, the board, a GPU and room on the disk; say how to fix what is missing.

    Ends with status 1 if something that is installed or asked for does not work.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from yoloslim.config import Params, load_params
    from yoloslim.tasks.doctor import examine  # PyTorch and SSH take seconds to import

    console, table = Console(), Table("", "state", box=None, pad_edge=False)
    for name in ("what was found", "what to do"):
        table.add_column(name, overflow="fold")  # what is to be typed must not be cut off
    styles = {"ok": "green", "absent": "dim", "broken": "bold red"}
    findings = list(examine(load_params(params) if params.is_file() else Params()))
    for found in findings:
        state = f"[{styles[found.state]}]{found.state}[/]"
        table.add_row(found.name, state, escape(found.facts), escape(found.fix if found.state != "ok" else ""))
    console.print(table)
    broken = [found.name for found in findings if found.state == "broken"]
    if broken:
        console.print(f"does not work: {', '.join(broken)}")
        raise typer.Exit(1)
