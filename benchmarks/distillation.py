"""What a teacher is worth: a pruned model finetuned with and without distillation, as a Markdown table.

`python -m benchmarks.distillation` in a project whose stages up to `prune@70` have run (`dvc repro prune@70`). Every
variant trains with the sections `train` and `finetune` of params.yaml, from the same pruned model, on the same batches;
test metrics are of the epoch that was best on val, mean and standard deviation over seeds.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from yoloslim.config import Params, load_params
from yoloslim.data.evalset import EvalSet, load_eval_set
from yoloslim.data.trainset import TrainSet, load_train_set
from yoloslim.data.voc import load_split
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.models.detector import Detector
from yoloslim.models.store import load_model
from yoloslim.training.distillation import Distillation
from yoloslim.training.fit import Callback, Task, fit

Variant = tuple[str, str, float, float]
"""Name, teacher, weights of output and feature term."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(), help="project with params.yaml, models/ and data/voc")
    parser.add_argument("--cache", type=Path, help="decoded images; default: train.cache_dir below the root")
    parser.add_argument("--percent", type=int, default=70)
    parser.add_argument("--epochs", type=int, help="default: finetune.epochs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--teachers", nargs="+", default=["sparse"], help="folders below models/")
    parser.add_argument("--output", type=float, nargs="+", default=[0.5], help="weights to try")
    parser.add_argument("--feature", type=float, nargs="+", default=[0.2], help="weights to try")
    parser.add_argument("--only", nargs="+", default=["off", "output", "feature", "both"])
    arguments = parser.parse_args()
    params = load_params(arguments.root / "params.yaml")
    if arguments.epochs:
        params = params.model_copy(update={"finetune": params.finetune.model_copy(update={"epochs": arguments.epochs})})
    chosen = [v for v in variants(arguments.teachers, arguments.output, arguments.feature) if v[0] in arguments.only]
    cache = arguments.cache or arguments.root / params.train.cache_dir
    print(table(params, arguments.root, cache / "images", arguments.percent, arguments.seeds, chosen))


def variants(teachers: list[str], outputs: list[float], features: list[float]) -> list[Variant]:
    found: list[Variant] = [("off", "–", 0.0, 0.0)]
    for teacher in teachers:
        found += [("output", teacher, output, 0.0) for output in outputs]
        found += [("feature", teacher, 0.0, feature) for feature in features]
        found += [("both", teacher, output, feature) for output in outputs for feature in features]
    return found


def table(params: Params, root: Path, cache: Path, percent: int, seeds: list[int], chosen: list[Variant]) -> str:
    models = root / "models"
    start = load_model(models / f"prune/{percent}/model.safetensors")
    teachers = {v[1]: load_model(models / v[1] / "model.safetensors") for v in chosen if v[0] != "off"}
    data = root / "data/voc"
    images = load_train_set(load_split(data, "train"), params.imgsz, cache)
    val, test = (load_eval_set(load_split(data, name), params.imgsz, cache) for name in ("val", "test"))
    e = params.evaluation

    def measure(model: Detector, split: EvalSet) -> dict[str, float]:
        return evaluate(TorchPredictor(model), split, NmsOptions(e.conf_thres, e.iou_thres, e.max_det), e.batch).metrics

    found: dict[Variant, list[tuple[float, float, float]]] = {variant: [] for variant in chosen}
    for seed in seeds:
        for variant in chosen:  # interleaved, so that a busy hour hits all alike
            begin = time.perf_counter()
            model = finetune(params, start, images, lambda model: measure(model, val), teachers, variant, seed)
            seconds, metrics = time.perf_counter() - begin, measure(model, test)
            found[variant].append((metrics["map50"], metrics["map50_95"], seconds))
            print(seed, *variant, *(round(v, 4) for v in found[variant][-1]), flush=True)
    lines = ["| distillation | teacher | output | feature | mAP50 | mAP50-95 | time |", "|:--|:--|--:|--:|--:|--:|--:|"]
    usual = np.median([row[2] for row in found[chosen[0]]])
    for (name, teacher, output, feature), rows in found.items():
        a, b, seconds = np.transpose(rows)
        cells = [name, teacher, f"{output:g}", f"{feature:g}"]
        cells += [f"{x.mean():.3f} ± {x.std(ddof=1) if len(x) > 1 else 0:.3f}" for x in (a, b)]
        lines.append("| " + " | ".join([*cells, f"{np.median(seconds) / usual:.2f}"]) + " |")
    f = params.finetune
    title = f"{percent} % pruned, {f.epochs} epochs, {len(images)} images, {params.imgsz} px, seeds {seeds}"
    return "\n".join([title, "", *lines])


def finetune(
    params: Params,
    start: Detector,
    images: TrainSet,
    validate: object,
    teachers: dict[str, Detector],
    variant: Variant,
    seed: int,
) -> Detector:
    _, teacher, output, feature = variant
    callbacks: tuple[Callback, ...] = ()
    if output or feature:
        teach = Distillation(teachers[teacher], params.train, output, feature, params.finetune.distill_temperature)
        callbacks = (teach,)
    return fit(Task(start, images, validate, params.train, params.finetune, seed, callbacks)).model  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
