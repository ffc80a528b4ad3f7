"""What may be asked of pruning, checked before anything is computed: the one statement of its options.

The section `prune` of params.yaml, the command `yoloslim prune` and `yoloslim.prune` take names, defaults, limits and
explanations from here. This file imports no torch, so that the command line stays quick.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, get_args

from yoloslim.errors import PruneError
from yoloslim.nearest import check_name

Scope = Literal["source", "slim", "free", "coupled"]
Importance = Literal["gamma", "l1", "l2", "taylor", "activation", "random"]
Normalise = Literal["none", "lamp", "isomorphic", "uniform", "mean"]
"""What makes scores of different layers comparable; see `yoloslim.pruning.normalise`."""
GroupScore = Literal["mean", "max", "sum"]
ChannelSelection = Literal["percent", "flops", "latency"]
"""How channels are chosen: one threshold over all layers, or the widths that lose least within FLOPs or a time."""
Scorer = Callable[[str, Any], Any]
"""An importance: the path of a layer and the layer -> (outputs,) scores >= 0, a tensor or whatever becomes one."""

OVER_MEANS = ("taylor", "l1", "l2")
"""Importances whose scores of trained weights compare when each is taken over the mean of its layer."""

TARGETS = ("target_params_m", "target_gflops", "target_latency_ms", "target_speedup")
"""Options that say what a network should come down to, instead of a percent."""

_registered: dict[str, Scorer] = {}


def register_importance(name: str, scorer: Scorer) -> None:
    """Give an importance a name, which `importance=` then takes.

    Args:
        name: not one of those there are.
        scorer: takes the path of a layer and the layer; gives a score for each of its outputs.

    Raises:
        PruneError: the name is taken or none, or the scorer cannot be called.
    """
    if not name or not isinstance(name, str):
        raise PruneError(f"importance {name!r} has no name; give one, such as 'spread'")
    if name in get_args(Importance):
        raise PruneError(f"importance '{name}' is one of yoloslim's own; choose another name")
    if not callable(scorer):
        raise PruneError(
            f"importance '{name}' is a {type(scorer).__name__}; it must be callable: (path, layer) -> scores"
        )
    _registered[name] = scorer


def scorer_of(importance: str | Scorer) -> Scorer | None:
    """The function behind an importance; None for yoloslim's own."""
    return importance if callable(importance) else _registered.get(importance)


def _about(help: str, **limits: float) -> dict[str, Any]:
    return {"help": help, "limits": limits}


@dataclasses.dataclass(frozen=True)
class PruneRequest:
    """Which channels should go, and how many.

    Attributes:
        scope: `source` the rules of midasklr/yolov5prune; `slim` those of the YOLOv3/v4 line; `free` every
            channel that no residual sum ties; `coupled` all channels, residual groups as a whole.
        percent: share of the prunable channels to remove, in [0, 100).
        target_params_m: instead of percent, millions of parameters to get down to.
        target_gflops: instead of percent, GFLOPs (2 * MACs / 1e9) at `imgsz` to get down to.
        target_latency_ms: instead of percent, milliseconds to get down to, by a measuring function.
        target_speedup: instead of percent, how many times as fast the cut network should be, by the same function.
        importance: what makes a channel worth keeping: a name, or a function (path, layer) -> scores.
        normalise: what makes the scores of different layers comparable, whatever the importance: `none` takes them as
            they are; `lamp` a channel's square over that of all in its layer that are no weaker; `isomorphic` its rank
            among channels that pass the same kinds of layers; `uniform` its rank within its layer, so that all lose the
            same share; `mean` the score over the mean of its layer.
        group_score: how a group's score comes from its members (scopes `free` and `coupled`).
        min_channels: channels every layer keeps at least.
        layer_keep: share of its channels every layer keeps at least, in [0, 1].
        round_to: channels kept per layer are a multiple of this, where the layer has as many.
        cost_power: scores are divided by the channel's relative cost to this power; 0 leaves them alone.
        residual_units: residual units to remove whole after the channels.
        fold: fold the constants that removed channels gave into what read them.
        ignored_layers: paths of layers, or of modules with layers in them, that keep all channels they give.
        layer_percents: path of a layer or module -> percent of its own channels to remove, instead of what the ranking
            of all layers would.
        imgsz: image side in pixels that FLOPs are counted at; None counts at the size of the example inputs.
        seed: of random importance.
    """

    scope: Scope = field(default="coupled", metadata=_about("which channels may go: coupled, free, source or slim"))
    percent: float = field(
        default=50, metadata=_about("share of the prunable channels to remove, 0 to below 100", ge=0, lt=100)
    )
    target_params_m: float | None = field(
        default=None, metadata=_about("instead of percent: millions of parameters", gt=0)
    )
    target_gflops: float | None = field(default=None, metadata=_about("instead of percent: GFLOPs", gt=0))
    target_latency_ms: float | None = field(default=None, metadata=_about("instead of percent: milliseconds", gt=0))
    target_speedup: float | None = field(
        default=None, metadata=_about("instead of percent: times as fast as the network is", gt=1, le=100)
    )
    importance: str | Scorer = field(default="gamma", metadata=_about("what makes a channel worth keeping"))
    normalise: Normalise = field(
        default="none",
        metadata=_about("what makes scores of layers comparable: none, lamp, isomorphic, uniform or mean"),
    )
    group_score: GroupScore = field(
        default="mean", metadata=_about("score of a group of tied channels from its members: mean, max or sum")
    )
    min_channels: int = field(default=1, metadata=_about("channels every layer keeps at least", ge=1))
    layer_keep: float = field(
        default=0.0, metadata=_about("share of its channels every layer keeps at least, 0 to 1", ge=0, le=1)
    )
    round_to: int = field(
        default=16,
        metadata=_about(
            "kept channels are a multiple of this: 16 suits AVX-512 and NPUs, 8 older CPUs, 1 is any", ge=1, le=256
        ),
    )
    cost_power: float = field(
        default=0.0, metadata=_about("scores are divided by the channel's cost to this power", ge=0, le=4)
    )
    residual_units: int = field(default=0, metadata=_about("whole residual units to remove after the channels", ge=0))
    fold: bool = field(
        default=True, metadata=_about("fold the constants that removed channels gave into the layers that read them")
    )
    ignored_layers: tuple[str, ...] = field(
        default=(), metadata=_about("layers, or modules with layers in them, that keep all channels")
    )
    layer_percents: Mapping[str, float] = field(
        default_factory=dict, metadata=_about("path of a layer -> percent of its own channels")
    )
    imgsz: int | None = field(default=640, metadata=_about("image side in pixels that FLOPs are counted at", ge=32))
    seed: int = field(default=0, metadata=_about("of random importance"))

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            PruneError: a name that is not known (with the nearest one), a value of another kind or out of its range, or
                two targets.
        """
        check_name("scope", self.scope, get_args(Scope), PruneError)
        check_name("normalise", self.normalise, get_args(Normalise), PruneError)
        check_name("group_score", self.group_score, get_args(GroupScore), PruneError)
        if not callable(self.importance):
            if not isinstance(self.importance, str):
                raise PruneError(f"importance={self.importance!r} is neither a name nor a function")
            check_name("importance", self.importance, (*get_args(Importance), *_registered), PruneError)
        for stated in dataclasses.fields(self):
            self._check_value(stated)
        self._check_layers()
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise PruneError(f"{' and '.join(given)} are set at once; keep one of them")

    def _check_value(self, stated: "dataclasses.Field[Any]") -> None:
        """A number, or yes or no, where the field is one; numbers of other libraries become Python's."""
        name, value = stated.name, getattr(self, stated.name)
        kinds = get_args(stated.type) if isinstance(stated.type, UnionType) else (stated.type,)
        if bool in kinds and not isinstance(value, bool):
            raise PruneError(f"{name}={value!r} is neither True nor False")
        if (int in kinds or float in kinds) and not (value is None and type(None) in kinds):
            object.__setattr__(self, name, _number(name, value, stated.metadata["limits"], whole=int in kinds))

    def _check_layers(self) -> None:
        if not isinstance(self.layer_percents, Mapping):
            raise PruneError(f"layer_percents={self.layer_percents!r} is no mapping of paths of layers to percents")
        checked = {}
        for path, percent in self.layer_percents.items():
            checked[path] = _number(f"layer_percents of '{path}'", percent, {"ge": 0, "lt": 100})
        object.__setattr__(self, "layer_percents", checked)
        ignored = self.ignored_layers
        if isinstance(ignored, str):
            raise PruneError(f"ignored_layers is the text '{ignored}'; give a list: ['{ignored}']")
        if not isinstance(ignored, Iterable) or not all(isinstance(path, str) for path in ignored):
            raise PruneError(
                f"ignored_layers={ignored!r} holds what is no path; give paths of layers, as named_modules() has them"
            )
        object.__setattr__(self, "ignored_layers", tuple(ignored))


def check_typed(said: Mapping[str, Any]) -> None:
    """Refuse options that a person gave and cannot have meant; `PruneRequest` cannot tell its defaults from them.

    Raises:
        PruneError: a percent beside a target, or a share where a percent belongs.
    """
    percent = said.get("percent")
    if isinstance(percent, Real) and 0 < float(percent) < 1:
        meant = f"for {float(percent):.0%} write {100 * float(percent):g}"
        raise PruneError(f"percent={percent} is less than one channel in a hundred; {meant}")
    target = next((name for name in TARGETS if said.get(name) is not None), None)
    if target and said.get("percent") is not None:
        raise PruneError(f"percent and {target} are given at once; keep one of them")


BUDGETS = {
    "flops": ("target_gflops",),
    "latency": ("target_latency_ms", "target_speedup"),
}
"""Selections by a budget, and the targets that say how large it is; a percent does, too."""


def check_by_budget(selection: ChannelSelection, said: Mapping[str, Any]) -> None:
    """Refuse options that choosing channels by a budget has no use for.

    Args:
        selection: nothing is refused for `percent`.
        said: fields of `PruneRequest` with their values.

    Raises:
        PruneError: one of them is set.
    """
    if selection not in BUDGETS:
        return
    own = BUDGETS[selection]
    other = f"another target; {selection} takes {', '.join(own)} or a percent"
    idle = {
        **{name: other for name in TARGETS if name not in own},
        "cost_power": "another way to count cost",
        "layer_percents": "a number of channels, and the budget decides that",
        "group_score": "another way to count; scores of channels that go together are added up",
        "residual_units": "what goes after the channels, so that the budget would not be met",
    }
    for name, why in idle.items():
        if said.get(name, option(name).default) not in (option(name).default, {}):
            raise PruneError(f"{name}={said[name]!r} is {why}: leave it out, or take selection percent")


@dataclasses.dataclass(frozen=True)
class Option:
    """One field of `PruneRequest`, for those who offer it to people.

    Attributes:
        default: where nothing is said.
        help: a line about it.
        limits: `ge`, `gt`, `le`, `lt`, those it has.
    """

    default: Any
    help: str
    limits: dict[str, Any]


def option(name: str) -> Option:
    """What `PruneRequest` says of one of its fields."""
    stated = PruneRequest.__dataclass_fields__[name]
    return Option(stated.default, stated.metadata["help"], stated.metadata["limits"])


def _number(name: str, given: Any, limits: Mapping[str, float], whole: bool = False) -> float:
    """A number within limits.

    Raises:
        PruneError: it is none, or out of range.
    """
    if isinstance(given, bool) or not isinstance(given, Integral if whole else Real):
        raise PruneError(f"{name}={given!r} is no {'whole number' if whole else 'number'}")
    value: float = (
        given if isinstance(given, int | float) else int(given) if isinstance(given, Integral) else float(given)
    )
    fits = {
        "ge": lambda bound: value >= bound,
        "gt": lambda bound: value > bound,
        "le": lambda bound: value <= bound,
        "lt": lambda bound: value < bound,
    }
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    if not all(fits[kind](bound) for kind, bound in limits.items()) or abs(value) == float("inf"):  # NaN fits nowhere
        allowed = " and ".join(f"{words[kind]} {bound:g}" for kind, bound in limits.items())
        raise PruneError(f"{name}={value} is out of range; allowed: {allowed}")
    return value
