"""Networks made smaller, in the ways that `benchmarks.contestants` lets take part."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from benchmarks.experiment import narrow
from benchmarks.halves import put_together, take_apart
from yoloslim.config import TrainParams
from yoloslim.data.trainset import TrainSet
from yoloslim.deploy.latency_table import latency_table
from yoloslim.errors import YoloslimError
from yoloslim.heads import Head
from yoloslim.models.detector import Detector, count_macs
from yoloslim.models.foreign.adapt import with_imgsz
from yoloslim.models.split_blocks import C2f, Part
from yoloslim.prune_request import ChannelSelection, Importance, PruneRequest, Scope
from yoloslim.pruning.budget import within_budget
from yoloslim.pruning.coupling import BoolArray, Coupling, find_coupling
from yoloslim.pruning.flops_selection import select_by_flops
from yoloslim.pruning.importance import Scores, channel_scores, taylor_scores
from yoloslim.pruning.normalise import isomorphic, lamp, per_mean, uniform
from yoloslim.pruning.reconstruct import reconstruct
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut
from yoloslim.stages.batches import plain_batches

TAYLOR_IMAGES = 256
FIT_IMAGES = 256
STEP = 8
"""Widths that layers are timed at are multiples of this: what a vector of a CPU's runtime holds."""


@dataclass(frozen=True)
class Bench:
    """What ways may look at: a seed, the training images and the loss, on a device; threads of the runtime."""

    seed: int
    threads: int
    images: TrainSet
    train: TrainParams
    device: torch.device


Shrink = Callable[[Bench, Detector, float], Detector]
"""Makes a network with about this share of the FLOPs, smaller for a smaller share; a share of 1 leaves all."""


@dataclass(frozen=True)
class Rule:
    """Which channels go.

    Attributes:
        ranking: see `scored`.
        round_to: the multiple of channels that stays.
        scope: where.
        layer_keep: what share of every layer stays.
        selection: one threshold over all layers, or the widths that lose least within the FLOPs or the time.
        per_cost: scores, added up over what goes together, are divided by the FLOPs that go.
    """

    ranking: str
    round_to: int
    scope: Scope = "coupled"
    layer_keep: float = 0.0
    selection: ChannelSelection = "percent"
    per_cost: bool = False


def pruned(rule: Rule, bench: Bench, model: Detector, share: float) -> Detector:
    """Channels cut by a rule, to a share of the FLOPs."""
    coupling = find_coupling(model)
    return cut(model, coupling, chosen(rule, bench, model, share), fold=rule.scope != "source")


def fitted(rule: Rule, bench: Bench, model: Detector, share: float) -> Detector:
    """As `pruned`, every layer fitted to what it gave before on plain training images."""
    coupling, keep = find_coupling(model), chosen(rule, bench, model, share)
    small = cut(model, coupling, keep)
    images = torch.cat([batch.images for batch in plain_batches(bench.images, FIT_IMAGES, bench.seed)])
    reconstruct(model, small, coupling, keep, images)
    return small


def chosen(rule: Rule, bench: Bench, model: Detector, share: float) -> BoolArray:
    """Channel groups that a rule keeps at a share of the FLOPs; of the time of all layers, where that chooses."""
    coupling, imgsz = find_coupling(model), model.spec.imgsz
    request = PruneRequest(
        rule.scope,
        target_gflops=share * 2e-9 * count_macs(model, imgsz),
        round_to=rule.round_to,
        layer_keep=rule.layer_keep,
        group_score="sum" if rule.per_cost else "mean",
        cost_power=1.0 if rule.per_cost else 0.0,
        imgsz=imgsz,
        seed=bench.seed,
    )
    scores = scored(rule.ranking, bench, model, coupling)
    if rule.selection == "flops":
        return select_by_flops(model, coupling, request, scores)[0].keep
    if rule.selection == "latency":
        table = latency_table(model, bench.threads, STEP, Path("cache"))
        return within_budget(model, coupling, request, scores, table.layer_ms, share)
    return select_channels(model, coupling, request, scores=scores).keep


def scored(ranking: str, bench: Bench, model: Detector, coupling: Coupling) -> Scores:
    """Scores of an importance, such as `taylor`, or of one that was made comparable, such as `taylor_lamp`."""
    importance, _, how = ranking.partition("_")
    scores = (
        taylor(bench, model)
        if importance == "taylor"
        else channel_scores(model, coupling, cast(Importance, importance), seed=bench.seed)
    )
    if how == "lamp":
        return lamp(scores)
    if how == "mean":
        return per_mean(scores)
    if how == "uniform":
        return uniform(coupling, scores)
    return isomorphic(model, coupling, scores) if how == "isomorphic" else scores


def taylor(bench: Bench, model: Detector) -> Scores:
    """First-order Taylor scores on plain training images."""
    network = copy.deepcopy(model).to(bench.device)
    loss = model.spec.loss(bench.train, bench.device)
    return taylor_scores(
        network,
        find_coupling(model),
        plain_batches(bench.images, TAYLOR_IMAGES, bench.seed),
        lambda m, b: loss(m(b.images.to(bench.device)), b.targets.to(bench.device))[0],
    )


def by_torch_pruning(kind: str, round_to: int, bench: Bench, model: Detector, share: float) -> Detector:
    """Torch-Pruning, asked for about this share of the FLOPs."""
    return torch_pruned(kind, round_to, model, 1 - share**0.5)


def torch_pruned(kind: str, round_to: int, model: Detector, ratio: float) -> Detector:
    """Torch-Pruning over all layers at once, the head left alone; it is asked for a ratio of channels, not FLOPs."""
    try:
        import torch_pruning
    except ImportError as error:
        raise YoloslimError("Torch-Pruning is not installed: pip install torch-pruning==1.6.1") from error
    pruners, importances = torch_pruning.pruner, torch_pruning.importance
    pruner, importance = {
        "bn": (pruners.BNScalePruner, importances.BNScaleImportance()),
        "group": (pruners.GroupNormPruner, importances.GroupMagnitudeImportance(p=2)),
    }[kind]
    small = copy.deepcopy(model).requires_grad_(True)
    blocks = [block for block in small.modules() if isinstance(block, C2f)]
    for block in blocks:
        take_apart(block)
    imgsz, head = model.spec.imgsz, small.model[-1]
    pruner(
        small,
        torch.rand(1, 3, imgsz, imgsz),
        importance=importance,
        pruning_ratio=ratio,
        global_pruning=True,
        round_to=round_to if round_to > 1 else None,
        ignored_layers=list(head.modules()),
    ).step()
    for block in blocks:
        put_together(block)
    widths = dict(model.spec.widths)
    for path, module in small.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            widths[path] = (module.in_channels, module.out_channels)
        elif isinstance(module, torch.nn.BatchNorm2d):
            widths[path] = (module.num_features, module.num_features)
        elif isinstance(module, Part):
            widths[path] = (module.channels, module.channels)
    small.spec = small.spec.model_copy(update={"widths": widths})
    return small.eval()


def narrowed(bench: Bench, model: Detector, share: float) -> Detector:
    """The same architecture with fewer channels in every layer, from random weights."""
    spec = model.spec
    if spec.widths:
        raise YoloslimError(f"a narrower {spec.name} is made from the plain architecture, and this one was pruned")
    torch.manual_seed(bench.seed)
    return Detector(narrow(spec, share**0.5)).eval()


def at_smaller_size(bench: Bench, model: Detector, share: float) -> Detector:
    """The dense network for smaller images."""
    stride = max(model.spec.head.strides)
    imgsz = max(stride, round(model.spec.imgsz * share**0.5 / stride) * stride)
    sizes = bench.images.box_sizes() * (imgsz / bench.images.imgsz)

    def fit(head: Head, made_for: int) -> Head:
        return head.fitted(sizes, imgsz, bench.train, bench.seed, made_for)

    return with_imgsz(copy.deepcopy(model), imgsz, fit)


def unchanged(bench: Bench, model: Detector, share: float) -> Detector:
    """The dense network, trained on."""
    return copy.deepcopy(model)


def afresh(bench: Bench, model: Detector, share: float) -> Detector:
    """The dense network, from random weights."""
    torch.manual_seed(bench.seed)
    return Detector(model.spec).eval()
