"""One training of `benchmarks.race`: of the dense model, of a penalty, or of a contestant."""

import time
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.contestants import PENALTIES, ROUND_EPOCHS, WAYS, Way
from benchmarks.latency import clock_of, in_turn, opened
from benchmarks.of_share import of_share
from benchmarks.race_run import MODEL, RESULT, Run, Setup
from benchmarks.shrink import STEP, Bench
from yoloslim.config import BaselineParams, DataParams, FinetuneParams, PhaseParams, SparseParams, TrainParams
from yoloslim.data.evalset import EvalSet, load_eval_set
from yoloslim.data.prepare import prepare
from yoloslim.data.trainset import TrainSet, load_train_set
from yoloslim.data.voc import VocSplit, load_split
from yoloslim.deploy.latency_table import latency_table
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.files import read_json, write_json
from yoloslim.models.detector import Detector, build_detector, count_macs, count_params
from yoloslim.models.foreign.adapt import with_classes, with_imgsz
from yoloslim.models.foreign.load import import_model
from yoloslim.models.store import load_model, save_model
from yoloslim.models.zoo import build_spec
from yoloslim.pruning.recalibrate import recalibrate
from yoloslim.stages.batches import as_batches
from yoloslim.training import penalties
from yoloslim.training.callback import Callback
from yoloslim.training.devices import choose_device
from yoloslim.training.distillation import Distillation
from yoloslim.training.fit import Task, fit

START, CHECKPOINT = "start.safetensors", "checkpoint.pt"
ROUNDS = 40
"""Turns in which a network's share of the dense latency is measured while it is cut."""
RECALIBRATION_IMAGES = 200


class Racer:
    """Does the trainings of one setup, in the present folder."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.device = choose_device(setup.device)
        self.train = TrainParams(
            share=0,  # whole batches: results that are there were made so
            batch=setup.batch,
            mosaic=setup.mosaic,
            scale=0.5,
            hsv_s=0.7,
            **dict(zip(("obj_gain", "cls_gain"), setup.gains or (), strict=False)),
            val_every=setup.val_every,
            device=setup.device,
        )

    def prepare(self) -> None:
        """Data and decoded images, before processes need them."""
        if not Path("data/report.json").is_file():
            train, val, test = self.setup.sets
            source = "voc" if train else "auto"
            prepare(
                DataParams(source=source, path=self.setup.pack, train_set=train, val_set=val, test_set=test),
                Path("data"),
            )
        _ = self.images, self.val, self.test

    def time_layers(self) -> None:
        """Measure what layers take at which widths, while nothing else of the race runs."""
        model = self.given(Path(self.setup.dense)) if self.setup.dense else self.fresh(0)
        latency_table(model, self.setup.threads, STEP, Path("cache"))

    def split(self, name: str) -> VocSplit:
        """A prepared split."""
        return load_split(Path("data"), name)

    @cached_property
    def images(self) -> TrainSet:
        """What is trained on."""
        return load_train_set(self.split("train"), self.setup.imgsz, Path("cache"))

    @cached_property
    def val(self) -> EvalSet:
        """What an epoch is chosen by."""
        return self.eval_set("val")

    @cached_property
    def test(self) -> EvalSet:
        """What is reported on."""
        return self.eval_set(self.setup.report)

    def eval_set(self, split: str, imgsz: int = 0) -> EvalSet:
        """A split, letterboxed."""
        return load_eval_set(self.split(split), imgsz or self.setup.imgsz, Path("cache"))

    def race(self, run: Run) -> None:
        """Do one training and write its result."""
        run.folder.mkdir(parents=True, exist_ok=True)
        begin = time.perf_counter()
        if run.name == "start":
            self.start(run)
        elif run.name in WAYS:
            self.way(run, WAYS[run.name])
        else:
            self.sparse(run, run.name.removeprefix("sparse-"))
        result = read_json(run.folder / RESULT)
        write_json(run.folder / RESULT, result | {"seconds": round(time.perf_counter() - begin, 1)})
        (run.folder / CHECKPOINT).unlink(missing_ok=True)

    def start(self, run: Run) -> None:
        """The dense model that all begin with."""
        given = self.setup.dense
        model = self.given(Path(given)) if given else self.fresh(run.seed)
        phase = BaselineParams(epochs=self.setup.epochs[0], warmup_epochs=1)
        self.finish(run, model if given else self.trained(run, model, phase), {"epochs": 0 if given else phase.epochs})

    def given(self, path: Path) -> Detector:
        """A trained model from a file, for the classes and the size of the race."""
        classes, imgsz = self.split("train").classes, self.setup.imgsz
        model = with_classes(import_model(path, self.setup.model, classes), classes)
        sizes = self.images.box_sizes()
        return with_imgsz(model, imgsz, lambda head, made_for: head.fitted(sizes, imgsz, self.train, 0, made_for))

    def fresh(self, seed: int) -> Detector:
        """Random weights, and a head that suits the data."""
        classes, imgsz = self.split("train").classes, self.setup.imgsz
        head = build_spec(self.setup.model, classes).head.fitted(self.images.box_sizes(), imgsz, self.train, 0)
        torch.manual_seed(seed)
        return build_detector(self.setup.model, classes, imgsz, head)

    def sparse(self, run: Run, name: str) -> None:
        """The dense model under a penalty."""
        penalty = PENALTIES[name]
        settings: dict[str, Any] = {"penalty": "slimming", "rate": self.setup.rate} | penalty.changes
        phase = SparseParams(epochs=self.setup.epochs[1], **settings)
        model = run.needs[0].made()
        callback = penalties.PENALTIES[phase.penalty](model, penalty.scope, phase, None)
        result = self.trained(run, model, phase, (callback,), keep_last=True)
        self.recalibrate(result)
        near_zero = float((callback.gammas(result).abs() < 0.01).float().mean())
        self.finish(run, result, {"epochs": phase.epochs, "near_zero": near_zero})

    def way(self, run: Run, way: Way) -> None:
        """A contestant: make the network, or find the one that a stopped training began with, and train it."""
        model = self.shrunk(run, way)
        facts = read_json(run.folder / "cut.json")
        epochs = self.setup.epochs[0] + self.after_dense(way) if way.scratch else self.after_dense(way)
        phase: PhaseParams = BaselineParams(epochs=epochs, warmup_epochs=1) if way.scratch else self.finetuning(epochs)
        trained = self.trained(run, model, phase, self.lessons(run, way))
        self.finish(run, trained, {"epochs": phase.epochs, **facts})

    def after_dense(self, way: Way) -> int:
        """Epochs that a way's last training has, so that all have as many behind them in the end."""
        _, sparse, rest = self.setup.epochs
        return rest + (0 if way.penalty else sparse) - (way.rounds - 1) * ROUND_EPOCHS

    def finetuning(self, epochs: int) -> FinetuneParams:
        """A training of what was cut."""
        optimizer, lr0 = self.setup.finetune
        momentum = {"momentum": 0.937} if optimizer == "SGD" else {}
        return FinetuneParams(epochs=epochs, optimizer=optimizer, lr0=lr0, **momentum)

    def lessons(self, run: Run, way: Way) -> tuple[Callback, ...]:
        """The teacher of a way that has one."""
        return (Distillation(run.needs[1].made(), self.train, *way.distill),) if way.distill else ()

    def shrunk(self, run: Run, way: Way) -> Detector:
        """The network of a way, re-estimated and measured, from its file or made now."""
        path = run.folder / START
        if path.is_file():
            return load_model(path)
        model = run.needs[0].made()
        bench = Bench(run.seed, self.setup.threads, self.images, self.train, self.device)
        for number in range(1, way.rounds):
            model = way.shrink(bench, model, run.share ** (1 / way.rounds))
            self.recalibrate(model)
            phase = self.finetuning(ROUND_EPOCHS)
            model = self.trained(run, model, phase, self.lessons(run, way), True, f"round{number}.pt")
        facts: dict[str, Any] = {}
        if way.fixed:
            small = way.shrink(bench, model, 1.0)
        else:
            dense = load_model(Run(run.seed, "start").folder / MODEL)
            small, facts["asked"], facts["cut_share"] = of_share(
                run.share,
                lambda share: way.shrink(bench, model, share),
                lambda network: self.share_of(dense, network),
                is_limit=self.setup.by == "gflops",
            )
        if way.settle:
            small = way.settle(bench, model, facts["asked"])
        elif not way.scratch:
            self.recalibrate(small)
        if not way.scratch:
            facts |= {f"{k}_cut": v for k, v in self.measured(small).items()}
        write_json(run.folder / "cut.json", facts)
        save_model(small, path)
        for number in range(1, way.rounds):
            (run.folder / f"round{number}.pt").unlink()
        return small

    def share_of(self, dense: Detector, small: Detector) -> float:
        """What a network takes of the dense one's latency, or of its FLOPs."""
        if self.setup.by == "gflops":
            return count_macs(small, small.spec.imgsz) / count_macs(dense, dense.spec.imgsz)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # dynamo=False is deprecated; the new exporter is ten times slower
            calls = {
                "dense": opened(dense, dense.spec.imgsz, self.setup.threads),
                "small": opened(small, small.spec.imgsz, self.setup.threads),
            }
        return 1 / in_turn(calls, ROUNDS, clock=clock_of(self.setup.threads))["small"].speedup

    def trained(
        self,
        run: Run,
        model: Detector,
        phase: PhaseParams,
        callbacks: tuple[Callback, ...] = (),
        keep_last: bool = False,
        checkpoint: str = CHECKPOINT,
    ) -> Detector:
        """Train; an interrupted training goes on."""
        imgsz = model.spec.imgsz
        images = self.images if imgsz == self.setup.imgsz else load_train_set(self.split("train"), imgsz, Path("cache"))
        val = self.val if imgsz == self.setup.imgsz else self.eval_set("val", imgsz)

        def validate(network: Detector) -> dict[str, float]:
            return evaluate(TorchPredictor(network, str(self.device)), val).metrics

        task = Task(
            model,
            images,
            validate,
            self.train,
            phase,
            run.seed,
            callbacks,
            "last" if keep_last else "best",
            run.folder / checkpoint,
        )
        return fit(task).model

    def recalibrate(self, model: Detector) -> None:
        """Re-estimate BatchNorm statistics on training images, in place."""
        images = self.eval_set("train", model.spec.imgsz).images
        sample = images[np.random.default_rng(0).permutation(len(images))[:RECALIBRATION_IMAGES]]
        model.to(self.device)
        recalibrate(model, (batch.to(self.device) for batch in as_batches(sample)))
        model.cpu()

    def measured(self, model: Detector) -> dict[str, float]:
        """Accuracy on the split that is reported."""
        test = self.test if model.spec.imgsz == self.setup.imgsz else self.eval_set(self.setup.report, model.spec.imgsz)
        found = evaluate(TorchPredictor(model, str(self.device)), test).metrics
        return {name: found[name] for name in ("map50", "map50_95")}

    def finish(self, run: Run, model: Detector, facts: dict[str, Any]) -> None:
        """Write the model and its result; the result holds the architecture, which is all that timing needs."""
        save_model(model, run.folder / MODEL)
        size = {"params_m": count_params(model) / 1e6, "gflops": 2e-9 * count_macs(model, model.spec.imgsz)}
        write_json(
            run.folder / RESULT,
            {
                **self.measured(model),
                **size,
                **facts,
                "device": self.device.type,
                "spec": model.spec.model_dump(mode="json"),
            },
        )
        (run.folder / START).unlink(missing_ok=True)
