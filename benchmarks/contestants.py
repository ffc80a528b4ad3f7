"""Who takes part in `benchmarks.race`: ways from a dense detector to a faster one."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from benchmarks.experiment import narrow
from yoloslim.config import TrainParams
from yoloslim.data.augment import Augmentation, Augmenter
from yoloslim.data.trainset import TrainSet
from yoloslim.deploy.latency_table import latency_table
from yoloslim.errors import YoloslimError
from yoloslim.heads import Head
from yoloslim.models.detector import Detector, count_macs
from yoloslim.models.foreign.adapt import with_imgsz
from yoloslim.prune_request import Importance, PruneRequest, Scope
from yoloslim.pruning.budget import within_budget
from yoloslim.pruning.coupling import BoolArray, Coupling, find_coupling
from yoloslim.pruning.importance import Scores, channel_scores, taylor_scores
from yoloslim.pruning.normalise import isomorphic, lamp, per_mean, uniform
from yoloslim.pruning.reconstruct import reconstruct
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut

TAYLOR_IMAGES = 256
FIT_IMAGES = 256
STEP = 8
"""Widths that layers are timed at are multiples of this: what a vector of a CPU's runtime holds."""
BATCH = 32


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
class Way:
    """A contestant.

    Attributes:
        shrink: makes the smaller network.
        penalty: name of the sparse training that goes first (a key of PENALTIES); empty for none.
        scratch: train from random weights, for as long as dense and later trainings take in all.
        fixed: there is one such network, whatever latency is asked for.
        distill: weights of learning from the teacher's detections and features; empty for none.
        teacher: the run whose model teaches: the control, which a pipeline trains anyway, or `start`.
        settle: makes the same network as `shrink`, with layers that make up for the cut before any training; None
            re-estimates BatchNorm statistics.
    """

    shrink: Shrink
    penalty: str = ""
    scratch: bool = False
    fixed: bool = False
    distill: tuple[float, ...] = ()
    teacher: str = "dense"
    settle: Shrink | None = None


@dataclass(frozen=True)
class Penalty:
    """A sparse training: changes to the section `sparse`, and the scope whose scales it acts on."""

    scope: Scope
    changes: dict[str, object] = field(default_factory=dict)


PENALTIES = {
    "slimming": Penalty("coupled"),
    "source": Penalty("source", {"mode": "subgradient", "beta_factor": 10.0, "rate": 0.001}),
    "group": Penalty("coupled", {"penalty": "group"}),
    "growing": Penalty("coupled", {"penalty": "growing", "rate": 0.5}),
}


def pruned(ranking: str, round_to: int, scope: Scope, bench: Bench, model: Detector, share: float) -> Detector:
    """Channels cut by a ranking, to a share of the FLOPs."""
    coupling = find_coupling(model)
    return cut(model, coupling, chosen(ranking, round_to, scope, bench, model, share), fold=scope != "source")


def fitted(ranking: str, round_to: int, scope: Scope, bench: Bench, model: Detector, share: float) -> Detector:
    """As `pruned`, every layer fitted to what it gave before on plain training images."""
    coupling, keep = find_coupling(model), chosen(ranking, round_to, scope, bench, model, share)
    small = cut(model, coupling, keep)
    augmenter = Augmenter(bench.images, Augmentation.none(), torch.device("cpu"))
    rng = torch.Generator().manual_seed(bench.seed)
    images = augmenter.batch(torch.randperm(len(bench.images), generator=rng)[:FIT_IMAGES], rng, compose=False).images
    reconstruct(model, small, coupling, keep, images)
    return small


def chosen(ranking: str, round_to: int, scope: Scope, bench: Bench, model: Detector, share: float) -> BoolArray:
    """Channel groups that a ranking keeps at a share of the FLOPs."""
    coupling, imgsz = find_coupling(model), model.spec.imgsz
    goal = share * 2e-9 * count_macs(model, imgsz)
    request = PruneRequest(scope, target_gflops=goal, round_to=round_to, imgsz=imgsz, seed=bench.seed)
    return select_channels(model, coupling, request, scores=scored(ranking, bench, model, coupling)).keep


def budgeted(ranking: str, round_to: int, bench: Bench, model: Detector, share: float) -> Detector:
    """Channels cut to a share of the time of all layers, each bundle by what it matters for the time that it saves."""
    coupling = find_coupling(model)
    table = latency_table(model, bench.threads, STEP, Path("cache"))
    request = PruneRequest("coupled", round_to=round_to, imgsz=model.spec.imgsz)
    scores = scored(ranking, bench, model, coupling)
    return cut(model, coupling, within_budget(model, coupling, request, scores, table.layer_ms, share), fold=True)


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
    augmenter = Augmenter(bench.images, Augmentation.none(), torch.device("cpu"))
    rng = torch.Generator().manual_seed(bench.seed)
    chosen = torch.randperm(len(bench.images), generator=rng)[:TAYLOR_IMAGES]
    network = copy.deepcopy(model).to(bench.device)
    loss = model.spec.loss(bench.train, bench.device)
    batches = (augmenter.batch(part, rng, compose=False) for part in torch.split(chosen, BATCH))
    return taylor_scores(
        network,
        find_coupling(model),
        batches,
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
    widths = dict(model.spec.widths)
    for path, module in small.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            widths[path] = (module.in_channels, module.out_channels)
        elif isinstance(module, torch.nn.BatchNorm2d):
            widths[path] = (module.num_features, module.num_features)
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


def _pruned(ranking: str, round_to: int, penalty: str = "", scope: Scope = "coupled") -> Way:
    return Way(partial(pruned, ranking, round_to, scope), penalty)


TAUGHT: dict[str, dict[str, Any]] = {
    "": {},
    "-output": {"distill": (0.5, 0.0)},
    "-start": {"distill": (0.5, 0.0), "teacher": "start"},
}
RANKINGS = (
    "gamma",
    "taylor",
    "l2",
    "random",
    *(f"{score}_{how}" for score in ("gamma", "taylor", "l2") for how in ("lamp", "isomorphic", "uniform", "mean")),
)
WAYS: dict[str, Way] = {
    "dense": Way(unchanged, fixed=True),
    "dense-scratch": Way(afresh, scratch=True, fixed=True),
    "narrow": Way(narrowed, scratch=True),
    "image": Way(at_smaller_size),
    "source": _pruned("gamma", 1, "source", "source"),
    "torch-pruning-bn": Way(partial(by_torch_pruning, "bn", 8)),
    "torch-pruning-group": Way(partial(by_torch_pruning, "group", 8)),
    **{
        f"{penalty or 'none'}-{ranking}-{round_to}": _pruned(ranking, round_to, penalty)
        for penalty in ("", "slimming")
        for ranking in RANKINGS
        for round_to in (1, 8)
        if ranking in ("gamma", "taylor") or (not penalty and round_to == 8)
    },
    **{
        f"{penalty or 'none'}-{ranking}-8-budget": Way(partial(budgeted, ranking, 8), penalty)
        for penalty in ("", "slimming")
        for ranking in ("taylor", "gamma", "taylor_lamp")
    },
    **{f"{penalty}-l2-8": _pruned("l2", 8, penalty) for penalty in ("group", "growing")},
    **{
        f"none-{ranking}-8-fit{what}": replace(
            _pruned(ranking, 8), settle=partial(fitted, ranking, 8, "coupled"), **taught
        )
        for ranking in ("gamma", "taylor", "taylor_uniform")
        for what, taught in TAUGHT.items()
    },
    "none-taylor_uniform-4-fit-start": replace(
        _pruned("taylor_uniform", 4),
        settle=partial(fitted, "taylor_uniform", 4, "coupled"),
        **TAUGHT["-start"],
    ),
    "none-taylor_uniform-8-output": replace(_pruned("taylor_uniform", 8), distill=(0.5, 0.0)),
    "narrow-output": Way(narrowed, scratch=True, distill=(0.5, 0.0)),
    "none-gamma-8-output": replace(_pruned("gamma", 8), distill=(0.5, 0.0)),
    **{
        f"none-{ranking}-16{what}": replace(_pruned(ranking, 16), **taught)
        for ranking in ("gamma", "gamma_uniform", "taylor", "taylor_uniform")
        for what, taught in {**TAUGHT, "-strong": {"distill": (1.5, 0.0)}, "-stronger": {"distill": (4.0, 0.0)}}.items()
    },
    **{
        f"none-{ranking}-16-fit{what}": replace(
            _pruned(ranking, 16), settle=partial(fitted, ranking, 16, "coupled"), **taught
        )
        for ranking in ("gamma", "gamma_uniform", "taylor_uniform")
        for what, taught in TAUGHT.items()
    },
    **{
        f"torch-pruning-{kind}-16{what}": Way(partial(by_torch_pruning, kind, 16), **taught)
        for kind in ("bn", "group")
        for what, taught in TAUGHT.items()
    },
    **{f"{penalty}-l2-16": _pruned("l2", 16, penalty) for penalty in ("group", "growing")},
    "none-gamma-8-feature": replace(_pruned("gamma", 8), distill=(0.0, 0.5)),
    "none-gamma-8-both": replace(_pruned("gamma", 8), distill=(0.5, 0.5)),
}
"""Name -> way. Pruned ones are called penalty-ranking-multiple: of the channels that a layer keeps."""
