"""The whole experiment on one data set, in pieces: `python -m benchmarks.experiment ../shared/data/groceries.tar`.

Dense training; for each scope sparse training, pruning at several percents and finetuning; one more point of scope
`coupled` that is as fast as `source` at the first percent; and, as a control, a narrower network of the same size as
`coupled` at the first percent, trained from scratch for as long as the other took in all. One table at the end.

Give the same command again to go on: what is finished is kept, an interrupted training resumes; further percents may be
added. `--minutes 9` stops by itself before a limit of ten. VOC2007: `--model yolov5s --imgsz 512 --sets trainval test
test`. docs/training.md names the few packages that it needs besides PyTorch.
"""

import argparse
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.latency import interleaved
from yoloslim.config import BaselineParams, Params, PhaseParams, parse_params
from yoloslim.errors import ConfigError, Interrupted, YoloslimError
from yoloslim.files import read_json, write_json
from yoloslim.models.detector import Detector, count_params
from yoloslim.models.spec import ModelSpec
from yoloslim.models.store import load_model
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut
from yoloslim.stages import baseline, data, finetune, measure, prune, sparse
from yoloslim.stages.common import METRICS, MODELS
from yoloslim.stages.models import store
from yoloslim.stages.training import Training, train

SCOPES = {"source": 1, "coupled": 8}
"""Scope -> round_to: the published rules know no rounding."""
ARGUMENTS = Path("arguments.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path, help="folder or tar in VOC layout")
    sets = ("train", "val", "test")
    parser.add_argument("--sets", nargs=3, default=sets, metavar=("TRAIN", "VAL", "TEST"), help="its image sets")
    parser.add_argument("--work", type=Path, default=Path("experiment"), help="folder of what is finished")
    parser.add_argument("--model", default="yolov5n")
    parser.add_argument("--imgsz", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, nargs=3, default=(30, 10, 8), metavar=("DENSE", "SPARSE", "FINETUNE"))
    parser.add_argument("--percents", type=int, nargs="+", default=(50, 55, 60))
    parser.add_argument("--rate", type=float, default=0.01, help="sparsity penalty")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads that latency is measured with")
    parser.add_argument("--minutes", type=float, default=0, help="stop after so long; 0 runs to the end")
    arguments = parser.parse_args()
    arguments.pack = arguments.pack.resolve()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, arguments.minutes * 60)
    arguments.work.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.chdir(arguments.work):
            run(arguments)
            print(table(params_of(arguments, "coupled")))
    except (KeyboardInterrupt, Interrupted):
        print("stopped; the same command goes on")
    except YoloslimError as error:
        sys.exit(f"error: {error}")


def params_of(arguments: argparse.Namespace, scope: str) -> Params:
    """The pipeline's parameters for one scope."""
    dense, sparse, finetune = arguments.epochs
    train_set, val_set, test_set = arguments.sets
    return parse_params(
        {
            "model": arguments.model,
            "imgsz": arguments.imgsz,
            "percents": list(arguments.percents),
            "data": {
                "source": "voc",
                "path": str(arguments.pack),
                "train_set": train_set,
                "val_set": val_set,
                "test_set": test_set,
            },
            "train": {
                "batch": arguments.batch,
                "mosaic": 0.5,
                "scale": 0.5,
                "close_mosaic": 2,
                "val_every": 5,
                "cache_dir": str(Path.cwd() / ".cache"),
            },
            "baseline": {"epochs": dense, "warmup_epochs": 1},
            "sparse": {"penalty": "slimming", "epochs": sparse, "rate": arguments.rate},
            "prune": {"scope": scope, "importance": "gamma", "round_to": SCOPES[scope]},
            "finetune": {"epochs": finetune, "distill_output": 0.0},
            "evaluation": {"threads": arguments.threads},
            "tracking": {"enabled": False},
        }
    )


def run(arguments: argparse.Namespace) -> None:
    """All steps that are not finished yet, in order."""
    params = {scope: params_of(arguments, scope) for scope in SCOPES}
    first = arguments.percents[0]
    check_same(arguments)
    once(ARGUMENTS, lambda: start(arguments, params["source"]))
    measured("baseline", params["source"], partial(baseline.run, params["source"]))
    for scope, chosen in params.items():
        with in_scope(scope):
            measured("sparse", chosen, partial(sparse.run, chosen))
            percents = list(arguments.percents)
            if scope == "coupled":
                percents.append(as_fast(chosen, load_model(Path(f"../source/models/prune/{first}/model.safetensors"))))
            for percent in percents:
                measured(f"prune/{percent}", chosen, partial(cut_alone, chosen, percent))
                measured(f"finetune/{percent}", chosen, partial(finetune.run, chosen, percent))
    pruned = Path(f"coupled/models/prune/{first}")
    measured("control", params["coupled"], partial(control, params["coupled"], pruned))


def that_count(arguments: argparse.Namespace) -> dict[str, object]:
    """The options that finished steps depend on; of the percents only the first, which others are compared with."""
    words = {name: getattr(arguments, name) for name in ("model", "imgsz", "batch", "rate", "threads")}
    lists = {"sets": list(arguments.sets), "epochs": list(arguments.epochs)}
    return {"pack": str(arguments.pack), **words, **lists, "first percent": arguments.percents[0]}


def check_same(arguments: argparse.Namespace) -> None:
    """Raise a ConfigError where the folder holds the steps of another experiment."""
    now = that_count(arguments)
    before = read_json(ARGUMENTS) if ARGUMENTS.is_file() else now
    for name, value in now.items():
        if before.get(name) != value:
            raise ConfigError(
                f"{Path.cwd()} holds an experiment with {name} {before.get(name)}, and this one has {name} {value}; "
                "name another folder with --work, or delete that one"
            )


def start(arguments: argparse.Namespace, params: Params) -> None:
    """Prepare the data, and note what the experiment is."""
    data.run(params)
    write_json(ARGUMENTS, that_count(arguments))


def cut_alone(params: Params, percent: int) -> None:
    """The stage `prune` without its evaluations, so that a step of a large test split stays short."""
    store(prune.settled(params, prune.cut_model(params, percent)), f"prune/{percent}")


def measured(name: str, params: Params, step: Callable[[], None]) -> None:
    """Run a step that makes a model, and measure the model, unless that is done."""
    once(MODELS / name / "model.safetensors", step)
    once(METRICS / f"{name}.json", partial(measure.run, params, [name]))


def once(result: Path, step: Callable[[], None]) -> None:
    """Run a step unless its result is there."""
    if not result.is_file():
        print(f"== {Path.cwd().name}: {result}", flush=True)
        step()


@contextlib.contextmanager
def in_scope(scope: str) -> Iterator[None]:
    """A folder for one scope, which shares the data and the dense model."""
    folder = Path(scope)
    for shared in (Path("data"), MODELS / "baseline"):
        link = folder / shared
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(shared.absolute())
    with contextlib.chdir(folder):
        yield


def as_fast(params: Params, goal: Detector) -> int:
    """Percent at which the cut model is as fast as another: bisection over latencies paired turn by turn."""
    note = Path("as_fast.json")
    if not note.is_file():
        sparse = load_model(MODELS / "sparse" / "model.safetensors")
        coupling, low, high = find_coupling(sparse), 0, 95
        while high - low > 1:
            percent = (low + high) // 2
            keep = select_channels(sparse, coupling, prune.request_of(params, percent)).keep
            pair = {"goal": goal, "cut": cut(sparse, coupling, keep, fold=True)}
            faster = interleaved(pair, params.imgsz, 60, params.evaluation.threads)["cut"].speedup
            print(f"   coupled {percent} %: {faster:.2f} times as fast", flush=True)
            low, high = (percent, high) if faster < 1 else (low, percent)
        write_json(note, {"percent": high})
    return int(read_json(note)["percent"])


def control(params: Params, pruned: Path) -> None:
    """Train the same architecture, narrowed evenly to the size of a pruned model, for as long as that took in all."""
    spec, goal = baseline.start_model(params).spec, count_params(load_model(pruned / "model.safetensors"))
    candidates = [narrow(spec, step / 200) for step in range(10, 201)]
    closest = min(candidates, key=lambda s: abs(count_params(Detector(s)) - goal))
    torch.manual_seed(params.seed)
    choices = (closest.model_dump_json(),)
    train(params, Training("control", control_phase(params), choices=choices), Detector(closest))


def control_phase(params: Params) -> BaselineParams:
    """As the dense training, for as many epochs as all three have."""
    epochs = params.baseline.epochs + params.sparse.epochs + params.finetune.epochs
    return params.baseline.model_copy(update={"epochs": epochs})


def narrow(spec: ModelSpec, share: float) -> ModelSpec:
    """An architecture with this share of its channels in every layer, in multiples of 2."""
    layers = [
        layer.model_copy(update={"channels": max(2, round(layer.channels * share / 2) * 2)})
        if layer.channels
        else layer
        for layer in spec.layers
    ]
    return spec.model_copy(update={"name": f"{spec.name}-narrow", "layers": tuple(layers)})


def table(params: Params) -> str:
    """What came out, in Markdown, with latencies of all models timed in turn."""
    rows: dict[str, tuple[Path, PhaseParams]] = {
        "dense": (Path("metrics/baseline.json"), params.baseline),
        "narrow, from scratch": (Path("metrics/control.json"), control_phase(params)),
    }
    for scope in SCOPES:
        rows[f"{scope}, sparse"] = Path(scope) / "metrics/sparse.json", params.sparse
        for path in sorted(Path(scope).glob("metrics/finetune/*.json"), key=lambda p: int(p.stem)):
            rows[f"{scope} {path.stem} %"] = path, params.finetune
    models = {
        name: load_model(Path(str(path.with_suffix("")).replace("metrics", "models")) / "model.safetensors")
        for name, (path, _) in rows.items()
    }
    times = interleaved(models, params.imgsz, 200, params.evaluation.threads)
    lines = [
        f"{params.model}, latency in ONNX Runtime, batch 1, {params.evaluation.threads} threads\n",
        "| model | size px | mAP50 | mAP50-95 | train | params M | size MB | GFLOPs | mAP50 before finetuning "
        "| ms (p10-p90) | times as fast |",
        "|:--|--:|--:|--:|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for name, (path, phase) in rows.items():
        m, t = read_json(path), times[name]
        pruned = Path(str(path).replace("finetune", "prune"))
        before = f"{read_json(pruned)['map50']:.3f}" if pruned != path else ""
        lines.append(
            f"| {name} | {params.imgsz} | {m['map50']:.3f} | {m['map50_95']:.3f} "
            f"| batch {params.train.batch}, {phase.optimizer}, {phase.epochs} epochs "
            f"| {m['params_m']:.3f} | {m['size_mb']:.2f} | {m['gflops']:.3f} | {before} "
            f"| {t.median_ms:.2f} ({t.p10_ms:.2f}-{t.p90_ms:.2f}) | {t.speedup:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
