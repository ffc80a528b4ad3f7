"""Pruning a stored model: `yoloslim prune`, with pictures or without."""

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch

from yoloslim.deploy.quoting import quote
from yoloslim.deploy.timed_prune import Timing, about_time, timed_prune
from yoloslim.errors import PruneError
from yoloslim.files import spare_inputs, write_json
from yoloslim.models.detector import Detector, count_macs, count_params
from yoloslim.models.foreign.load import read_model
from yoloslim.models.store import model_name, save_model
from yoloslim.prune_request import OVER_MEANS, ChannelSelection, Importance, Normalise, PruneRequest
from yoloslim.pruning.certified_cut import PruneResult
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.forecast import prunability
from yoloslim.pruning.inspection import prunable_scales, removed_scale
from yoloslim.pruning.prune_report import shortfall
from yoloslim.pruning.recalibrate import recalibrate
from yoloslim.pruning.reconstruct import reconstruct
from yoloslim.tasks.sample import Sample, sample_of

NOTICEABLE = 0.05
"""Share of the sum of all scales above which a cut changes what a network finds."""


@dataclasses.dataclass(frozen=True)
class Settling:
    """What makes up for a cut without training.

    Attributes:
        data: a data set of any layout, or a folder of pictures; None leaves the cut network as it is.
        layout: of it; `auto` finds out.
        images: how many of its training images are looked at, at least 1.
        fit: fit every layer to what it gave before the cut; else re-estimate BatchNorm statistics.
    """

    data: Path | None = None
    layout: str = "auto"
    images: int = 128
    fit: bool = True

    def __post_init__(self) -> None:
        """Refuse no images.

        Raises:
            PruneError: fewer than one.
        """
        if self.images < 1:
            raise PruneError(f"images={self.images} leaves nothing to look at; give 1 or more")


@dataclasses.dataclass(frozen=True)
class Ranking:
    """What channels are ranked by, where `auto` is decided by the network.

    Attributes:
        importance: see `PruneRequest`; `auto` is `gamma`, and `l2` where images make up for the cut of a network that
            was never sparsified, whose scales tell little (docs/benchmarks.md, without training).
        normalise: see `PruneRequest`; `auto` is `mean` for `l1`, `l2` and `taylor` where images make up for the cut and
            one threshold chooses, else `none`.
    """

    importance: Literal[Importance, "auto"] = "auto"
    normalise: Literal[Normalise, "auto"] = "auto"

    def decided(
        self, network: Detector, request: PruneRequest, settled: bool, selection: ChannelSelection
    ) -> PruneRequest:
        """The request with both, for a network that is settled on images or not."""
        importance, normalise = self.importance, self.normalise
        if importance == "auto":
            tell = not settled or not prunability(prunable_scales(network, request.scope)).advice
            importance = "gamma" if tell else "l2"
        if normalise == "auto":
            normalise = "mean" if settled and selection == "percent" and importance in OVER_MEANS else "none"
        return dataclasses.replace(request, importance=importance, normalise=normalise, imgsz=network.spec.imgsz)


NOTHING, TIMING, RANKING = Settling(), Timing(), Ranking()


def prune_file(
    model: Path,
    request: PruneRequest,
    out: Path | None = None,
    settling: Settling = NOTHING,
    timing: Timing = TIMING,
    ranking: Ranking = RANKING,
) -> Iterator[str]:
    """Cut a stored model, write it and its report, and say what became of it.

    Args:
        model: its file, or one to import.
        request: what should go; its importance and `normalise` are those of `ranking`, and FLOPs are counted at the
            model's own size.
        out: file to write, `.safetensors`; None stands beside the model.
        settling: what makes up for the cut.
        timing: what latencies are measured on, for `target_latency_ms` and `target_speedup`, and whether they choose
            the channels.
        ranking: what channels are ranked by.

    Raises:
        PruneError: importance `taylor` without boxes, `activation` without images; and what `prune` raises.
        ModelError, WeightsError: no model that can be read.
        DataError: the data cannot be used.
    """
    if ranking.importance in ("taylor", "activation") and settling.data is None:
        boxes = " with boxes" if ranking.importance == "taylor" else ""
        raise PruneError(f"importance {ranking.importance} needs training images{boxes}: add --data FOLDER")
    target = model_name(out or model.with_name(f"{model.stem}-pruned"))
    spare_inputs(target, model)
    network = read_model(model)
    request = ranking.decided(network, request, settling.data is not None, timing.selection)
    if settling.data is None:
        result = timed_prune(network, request, timing)
        yield from _written(network, result, result.model, request, target)
        yield from _missed(network, result, target)
        return
    with sample_of(settling.data, settling.layout, network, settling.images) as sample:
        yield f"{len(sample.images)} images of {settling.data} to settle the network on{sample.what_is_missing}"
        if ranking.importance == "auto" and request.importance != "gamma":
            over = " over the mean of its layer" if request.normalise == "mean" else ""
            yield f"no penalty made scales small, so channels are ranked by {request.importance}{over} (--importance)"
        accuracies = [sample.accuracy(network)]  # first: boxes that cannot be read are told before the cut is timed
        scores = sample.scores(network, request.importance)
        result = timed_prune(network, request, timing, sample.images[:8], scores=scores)
        settled = _settled(network, result, sample, settling.fit)
        accuracies += [sample.accuracy(each) for each in (result.model, settled)]
        for name, found in zip(("dense", "cut", "settled"), accuracies, strict=True):
            if found is not None:
                result.report[f"accuracy_{name}"] = found
        yield from _written(network, result, settled, request, target)
        if None not in accuracies:
            told = [f"{a['map50']:.3f} / {a['map50_95']:.3f}" for a in accuracies if a is not None]
            yield f"mAP50 / mAP50-95 on the test images: {told[0]}; cut {told[1]}; settled without training {told[2]}"


def _settled(network: Detector, result: PruneResult[Detector], sample: Sample, fit: bool) -> Detector:
    """A copy of the cut network, made up for the cut; its report says how far each layer is off."""
    settled = copy.deepcopy(result.cut if fit else result.model)
    if not fit:
        recalibrate(settled, torch.split(sample.images, 32))
        return settled
    found = reconstruct(network, settled, find_coupling(network), result.selection.keep, sample.images)
    result.report["misfit"] = {path: dataclasses.asdict(misfit) for path, misfit in found.items()}
    return settled


def _written(
    network: Detector, result: PruneResult[Detector], final: Detector, request: PruneRequest, target: Path
) -> Iterator[str]:
    """Store model and report; lines about its size, its speed and what was not met."""
    save_model(final, target)
    write_json(target.with_suffix(".json"), result.report)
    time = about_time(result.report)
    yield _summary(network, result, target) + (f"; {time}" if time else "")
    if less := shortfall(request, result.report):
        yield f"{less}. `yoloslim inspect` shows the scales"


def _missed(network: Detector, result: PruneResult[Detector], target: Path) -> Iterator[str]:
    """What a network that was in use has lost, and what helps."""
    missed = removed_scale(network, result.cut)
    if missed > NOTICEABLE:
        yield (
            f"what was cut had {100 * missed:.0f} % of the sum of all scales: these channels were in use, and until it "
            "is finetuned the model finds little or nothing. What helps: finetune it (`yoloslim train DATA --model "
            f"{quote(str(target))}`), or let the pipeline cut by what its images say, finetune and compare "
            "(baseline.weights in params.yaml takes the model before the cut, then `dvc repro`); --data FOLDER, which "
            "makes up for a small cut without training; cut less"
        )


def _summary(network: Detector, result: PruneResult[Detector], target: Path) -> str:
    before, after = count_params(network) / 1e6, count_params(result.model) / 1e6
    macs = count_macs(result.model, network.spec.imgsz) / count_macs(network, network.spec.imgsz)
    return (
        f"{target}: {before:.3f} M -> {after:.3f} M parameters ({100 * after / before:.1f} %), {100 * macs:.1f} % of "
        f"the FLOPs; {result.report['effective_percent']:.1f} % of prunable channels removed; "
        f"cut equals mask to {max(result.certificate.cut):.1e}"
    )
