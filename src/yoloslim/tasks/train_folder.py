"""Task `train`: a model on a folder of images and boxes, without a project around it."""

import difflib
import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from yoloslim import __version__
from yoloslim.config import Params, parse_params
from yoloslim.config.base import Section
from yoloslim.config.data import DataParams
from yoloslim.config.machine import MACHINE
from yoloslim.config.train import BaselineParams, TrainParams
from yoloslim.data.folders import walk
from yoloslim.data.layouts import check_layout
from yoloslim.data.prepare import prepare
from yoloslim.errors import ConfigError, YoloslimError
from yoloslim.files import read_json, sha256_file, write_json
from yoloslim.heads.base import USUAL_IMGSZ
from yoloslim.models.detector import Detector
from yoloslim.models.foreign.load import import_model
from yoloslim.models.foreign.source import find_weights
from yoloslim.models.store import save_model
from yoloslim.models.zoo import build_spec, model_names
from yoloslim.nearest import guess
from yoloslim.runner.headers import limit_megapixels
from yoloslim.stages.baseline import start_model
from yoloslim.stages.batches import train_set
from yoloslim.stages.inputs import eval_set
from yoloslim.stages.measuring import evaluate_model
from yoloslim.stages.training import compare_with_start, validation_row, write_csv
from yoloslim.training.callback import Row
from yoloslim.training.devices import choose_device
from yoloslim.training.fit import Task, fit

logger = logging.getLogger(__name__)

MODEL, DATA, RECORD, CACHE = "model.safetensors", "data", "train.json", ".cache"
OWN = {"weights", "cache_dir", "download_dir", "source", "path", "mirrors", "device"}
"""Keys of params.yaml that have arguments of their own here, or mean nothing."""


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Attributes:
        model: of the epoch with the best val mAP50-95.
        metrics: map50, map50_95, map50_voc07, precision, recall on the test images, each in [0, 1].
        history: one row an epoch: losses, learning rate, and what the val images gave.
        kept_epoch: which epoch the model is from, from 1.
        path: of the model file.
    """

    model: Detector
    metrics: dict[str, float]
    history: list[Row]
    kept_epoch: int
    path: Path


@dataclass(frozen=True)
class Request:
    """What to train on what.

    Attributes:
        model: a name such as `yolov5n`, weights of any program, or an address with its checksum; or a Detector.
        data: folder, archive, data.yaml or JSON of a data set.
        layout: of it; `auto` finds out.
        epochs: passes over the training images; None takes the default of params.yaml.
        imgsz: side of the network's input, px; None keeps that of the weights, 640 for a name.
        device: auto, cpu or cuda.
        seed: of every random number.
        options: further keys of the sections `train`, `baseline` and `data` of params.yaml.
        profile: write `profile.md` and `trace.json.gz`: where the time of a step goes.
    """

    model: str | Path | Detector
    data: Path
    layout: str = "auto"
    epochs: int | None = None
    imgsz: int | None = None
    device: str = "auto"
    seed: int = 0
    options: Mapping[str, Any] | None = None
    profile: bool = False


def train_folder(request: Request, out: Path, tell: Callable[[dict[str, Any]], None] | None = None) -> Trained:
    """Train, and go on with a training of the very same request that was interrupted.

    Writes `out/model.safetensors`, last of all; `history.json`, `epochs.csv` and `metrics.json`; `data/`, the images as
    a data set in VOC layout with its splits; and `train.json`, what was asked for.

    Args:
        request: what to train on what.
        out: folder of this training alone, made if missing.
        tell: is given the report of the data, when it has been read.

    Raises:
        ConfigError: an option is unknown or out of range, or `out` holds another training or a finished one.
        DataError: the data cannot be used.
        ModelError: no such model, or weights that do not fit.
        TrainError: the training cannot go on.
        Interrupted: SIGTERM or Ctrl-C; the same request goes on from there.
    """
    _refuse_finished(out)
    cache = out / CACHE
    weights = _weights(request.model, cache)
    params = _params(request, weights, cache)
    limit_megapixels(params.data.max_megapixels)
    _claim(out, _record(params, weights, request.data))
    report = _prepared(params, out / DATA)
    if tell:
        tell(report)
    val = eval_set(params, "val", out / DATA)
    start = start_model(params, weights, out / DATA)
    given = validation_row(params, start, val) if weights else None
    checkpoint = cache / "checkpoint.pt"
    images = train_set(params, out / DATA)
    result = fit(
        Task(
            start,
            images,
            lambda ema: validation_row(params, ema, val),
            params.train,
            params.baseline,
            params.seed,
            checkpoint=checkpoint,
            profile=out if request.profile else None,
        )
    )
    trained = Trained(result.model, {}, result.history, result.kept_epoch, out / MODEL)
    if not result.is_main:
        return trained
    if given:
        compare_with_start(given, result, params.baseline)
    evaluation = evaluate_model(params, result.model, eval_set(params, "test", out / DATA))
    trained.metrics.update(evaluation.metrics)
    write_json(out / "history.json", {"kept_epoch": result.kept_epoch, "epochs": result.history})
    write_csv(out / "epochs.csv", result.history)
    write_json(out / "metrics.json", {"test": evaluation.metrics, "per_class": evaluation.per_class})
    save_model(result.model, trained.path)
    shutil.rmtree(cache, ignore_errors=True)
    return trained


def _weights(model: str | Path | Detector, cache: Path) -> Path | None:
    """The file to start from; None where `model` is the name of an architecture."""
    if isinstance(model, Detector):
        path = cache / "start.safetensors"
        save_model(model, path)
        return path
    if str(model) in model_names():
        return None
    if not Path(str(model).partition("#")[0]).suffix and "://" not in str(model):
        near = difflib.get_close_matches(str(model), model_names(), n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ConfigError(f"model '{model}' is not known; {hint}`yoloslim models` lists all; a file of weights will do")
    return find_weights(str(model), Path(DataParams().download_dir))


def _params(request: Request, weights: Path | None, cache: Path) -> Params:
    """The request as the sections of params.yaml."""
    check_layout(request.layout)
    sections: dict[str, dict[str, Any]] = {"train": {}, "baseline": {}, "data": {}}
    homes: dict[str, type[Section]] = {"data": DataParams, "baseline": BaselineParams, "train": TrainParams}
    known = {key: name for name, home in homes.items() for key in home.model_fields if key not in OWN}
    for key, value in (request.options or {}).items():
        if key not in known or key in ("epochs", "imgsz", "seed"):
            hint = guess(key, known) or f"there are: {', '.join(sorted(known))}"
            raise ConfigError(f"training has no option '{key}'; {hint}")
        sections[known[key]][key] = value
    if request.epochs is not None:
        if isinstance(request.epochs, int) and request.epochs < 1:
            raise ConfigError(f"epochs = {request.epochs}: a training has one at least")
        sections["baseline"]["epochs"] = request.epochs
    sections["baseline"]["weights"] = str(weights or "")  # with any, `auto` takes another recipe
    sections["train"] |= {"device": request.device, "cache_dir": str(cache)}
    sections["data"] |= {"source": request.layout, "path": str(request.data), "seed": request.seed}
    imgsz = request.imgsz or (import_model(weights).spec.imgsz if weights else USUAL_IMGSZ)
    # an empty name has the weights tell which architecture they are of
    top = {"model": "" if weights else str(request.model), "imgsz": imgsz, "seed": request.seed}
    params = parse_params({**top, **sections}, "training")
    choose_device(params.train.device)  # before the data are read, which takes long
    if not weights:
        build_spec(str(request.model), ("any",), imgsz)  # likewise: some networks take fewer sizes
    return params


def _record(params: Params, weights: Path | None, data: Path) -> dict[str, Any]:
    """What a checkpoint is only good for if it has not changed."""
    machine = {key.partition(".")[2] for key in MACHINE}
    plain = params.model_dump(mode="json")
    settings = {key: plain[key] for key in ("model", "imgsz", "seed")}
    for section in ("data", "baseline", "train"):
        settings = {key: value for key, value in plain[section].items() if key not in machine} | settings
    files = hashlib.sha256()
    for path in walk(data) if data.is_dir() else [data]:
        stat = path.stat() if path.is_file() else None
        files.update(f"{path}\0{stat and stat.st_size}\0{stat and stat.st_mtime_ns}\n".encode())
    settings |= {"path": str(data.resolve()), "files": files.hexdigest()[:16]}
    settings["weights"] = sha256_file(weights)[:16] if weights else ""
    return settings | {"torch": torch.__version__, "yoloslim": __version__}


def _refuse_finished(out: Path) -> None:
    if (out / MODEL).exists():
        raise ConfigError(f"{out / MODEL} is there already, and nothing is overwritten; name another folder to write")


def _claim(out: Path, record: dict[str, Any]) -> None:
    """Make sure that `out` is this training's.

    Raises:
        ConfigError: it is another's, or holds something else.
    """
    path = out / RECORD
    if path.is_file():
        before = read_json(path)
        changed = [key for key in record if before.get(key) != record[key]]
        if changed:
            told = ", ".join(f"{key} was {before.get(key)}, is {record[key]}" for key in changed[:3])
            raise ConfigError(f"{out} holds an unfinished training of another request ({told}); name another folder")
        return
    others = [each.name for each in out.iterdir() if each.name != CACHE] if out.is_dir() else []
    if others:
        raise ConfigError(f"{out} holds {others[0]}, and no training; name a folder that is new or empty")
    write_json(path, record)


def _prepared(params: Params, root: Path) -> dict[str, Any]:
    """The report of the prepared data, which is made if an interrupted training has not made it."""
    if not root.is_dir():
        return prepare(params.data, root)
    report = read_json(root / "report.json")
    if not isinstance(report, dict):
        raise YoloslimError(f"{root / 'report.json'} is no report; remove {root}")
    return report
