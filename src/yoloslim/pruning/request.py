"""What may be asked of pruning, checked before anything is computed."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args

from yoloslim.errors import PruneError

Scope = Literal["source", "slim", "free", "coupled"]
Importance = Literal["gamma", "l1", "l2", "taylor", "random"]
GroupScore = Literal["mean", "max", "sum"]


@dataclass(frozen=True)
class PruneRequest:
    """Which channels should go, and how many.

    Attributes:
        scope: `source` the rules of midasklr/yolov5prune; `slim` those of the YOLOv3/v4 line; `free` every
            channel that no residual sum ties; `coupled` all channels, residual groups as a whole.
        percent: share of the prunable channels to remove, in [0, 100).
        target_params_m: instead of percent, millions of parameters to get down to.
        target_gflops: instead of percent, GFLOPs (2 * MACs / 1e9) at `imgsz` to get down to.
        target_latency_ms: instead of percent, milliseconds to get down to, by a measuring function.
        importance: what makes a channel worth keeping.
        group_score: how a group's score comes from its members (scopes `free` and `coupled`).
        min_channels: channels every layer keeps at least.
        layer_keep: share of its channels every layer keeps at least, in [0, 1].
        round_to: channels kept per layer are a multiple of this, where the layer has as many.
        cost_power: scores are divided by the channel's relative cost to this power; 0 leaves them alone.
        residual_units: residual units to remove whole after the channels.
        fold: fold the constants that removed channels gave into what read them.
        imgsz: image side in pixels that FLOPs are counted at.
        seed: of random importance.
    """

    scope: Scope = "source"
    percent: float = 50
    target_params_m: float | None = None
    target_gflops: float | None = None
    target_latency_ms: float | None = None
    importance: Importance = "gamma"
    group_score: GroupScore = "mean"
    min_channels: int = 1
    layer_keep: float = 0.0
    round_to: int = 1
    cost_power: float = 0.0
    residual_units: int = 0
    fold: bool = True
    imgsz: int | None = 640
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            PruneError: a name that is not known (with the nearest one), a value out of its range, or two targets.
        """
        for name, known in (("scope", Scope), ("importance", Importance), ("group_score", GroupScore)):
            _check_name(name, getattr(self, name), get_args(known))
        _check("percent", self.percent, 0 <= self.percent < 100, "from 0 up to, but not including, 100")
        _check("layer_keep", self.layer_keep, 0 <= self.layer_keep <= 1, "from 0 to 1")
        _check("cost_power", self.cost_power, 0 <= self.cost_power < float("inf"), "at least 0")
        for name, least in (("min_channels", 1), ("round_to", 1), ("residual_units", 0), ("imgsz", 32)):
            value = getattr(self, name)
            _check(name, value, value is None or value >= least, f"at least {least}")
        targets = {n: getattr(self, n) for n in ("target_params_m", "target_gflops", "target_latency_ms")}
        given = {name: value for name, value in targets.items() if value is not None}
        for name, value in given.items():
            _check(name, value, 0 < value < float("inf"), "above 0")
        if len(given) > 1:
            raise PruneError(f"{' and '.join(given)} are set at once; keep one of them")


def _check_name(what: str, name: Any, known: tuple[str, ...]) -> None:
    if name not in known:
        near = get_close_matches(str(name), known, 1, 0)[0]
        raise PruneError(f"{what} '{name}' is unknown; did you mean '{near}'? There are: {', '.join(known)}")


def _check(name: str, value: float, fits: bool, allowed: str) -> None:
    if not fits:  # NaN fits nowhere
        raise PruneError(f"{name}={value} is out of range; allowed: {allowed}")
