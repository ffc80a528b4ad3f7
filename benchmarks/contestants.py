"""Who takes part in `benchmarks.race`: ways from a dense detector to a faster one."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch

from benchmarks.experiment import narrow
from yoloslim.config import TrainParams
from yoloslim.data.augment import Augmentation, Augmenter
from yoloslim.data.trainset import TrainSet
from yoloslim.errors import YoloslimError
from yoloslim.heads import Head
from yoloslim.models.detector import Detector, count_macs
from yoloslim.models.foreign.adapt import with_imgsz
from yoloslim.prune_request import Importance, PruneRequest, Scope
from yoloslim.pruning.importance import Scores, taylor_scores
from yoloslim.pruning.labels import label_channels
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut

TAYLOR_IMAGES = 256
BATCH = 32


@dataclass(frozen=True)
class Bench:
    """What ways may look at: a seed, the training images and the weights of the loss, on a device."""

    seed: int
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
    """

    shrink: Shrink
    penalty: str = ""
    scratch: bool = False
    fixed: bool = False


@dataclass(frozen=True)
class Penalty:
    """A sparse training: changes to the section `sparse`, and the scope whose scales it acts on."""

    scope: Scope
    changes: dict[str, object] = field(default_factory=dict)


PENALTIES = {
    "slimming": Penalty("coupled"),
    "source": Penalty("source", {"mode": "subgradient", "beta_factor": 10.0, "rate": 0.001}),
}


def pruned(
    importance: Importance, round_to: int, scope: Scope, bench: Bench, model: Detector, share: float
) -> Detector:
    """Channels cut by a ranking, to a share of the FLOPs."""
    labels, imgsz = label_channels(model), model.spec.imgsz
    goal = share * 2e-9 * count_macs(model, imgsz)
    request = PruneRequest(
        scope, target_gflops=goal, importance=importance, round_to=round_to, imgsz=imgsz, seed=bench.seed
    )
    scores = taylor(bench, model) if importance == "taylor" else None
    keep = select_channels(model, labels, request, scores=scores).keep
    return cut(model, labels, keep, fold=scope != "source")


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
        label_channels(model),
        batches,
        lambda m, b: loss(m(b.images.to(bench.device)), b.targets.to(bench.device))[0],
    )


def by_torch_pruning(kind: str, round_to: int, bench: Bench, model: Detector, share: float) -> Detector:
    """Torch-Pruning over all layers at once, the head left alone; it is asked for channels, not FLOPs."""
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
        pruning_ratio=1 - share**0.5,
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


def _pruned(importance: Importance, round_to: int, penalty: str = "", scope: Scope = "coupled") -> Way:
    return Way(partial(pruned, importance, round_to, scope), penalty)


WAYS: dict[str, Way] = {
    "dense": Way(unchanged, fixed=True),
    "dense-scratch": Way(afresh, scratch=True, fixed=True),
    "narrow": Way(narrowed, scratch=True),
    "image": Way(at_smaller_size),
    "source": _pruned("gamma", 1, "source", "source"),
    "torch-pruning-bn": Way(partial(by_torch_pruning, "bn", 8)),
    "torch-pruning-group": Way(partial(by_torch_pruning, "group", 8)),
    **{
        f"{penalty or 'none'}-{importance}-{round_to}": _pruned(importance, round_to, penalty)
        for penalty in ("", "slimming")
        for importance in ("gamma", "taylor", "l2", "random")
        for round_to in (1, 8)
        if not (penalty and importance in ("l2", "random"))
    },
}
"""Name -> way. Pruned ones are called penalty-ranking-multiple: of the channels that a layer keeps."""
