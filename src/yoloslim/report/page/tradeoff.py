"""Charts of what pruning costs and saves: accuracy against cost, and accuracy along percent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yoloslim.report.page.charts import (
    ACCENT,
    CARD,
    CUT,
    DENSE,
    FAINT,
    INT8,
    LINE,
    TUNED,
    Spec,
    chart,
    colours,
    number,
    rows,
    tip,
    word,
)
from yoloslim.report.page.points import COSTS, STATES, Point, comparable, front
from yoloslim.report.tables import spread
from yoloslim.sweeping.cliff import CLIFF, find_fall

COLOURS = {"dense": DENSE, "control": FAINT, "finetuned": TUNED, "int8": INT8, "probed": CUT}
DENSE_LABELS = {"dense": "baseline", "control": "control"}
"""Of points that no percent tells apart."""
DIGITS = {"latency_ms": 2, "params_m": 3, "size_mb": 2}
UNITS = {"latency_ms": "ms", "params_m": "M", "size_mb": "MB"}
FINGER = 900
"""Area of what can be touched around a point, px²."""
RING: Spec = {"type": "point", "size": 460, "color": ACCENT, "strokeWidth": 3, "opacity": 1, "aria": False}
"""Around the winner."""

HEIGHT, NARROW, DOT = 280, 260, 7
"""Of the chart of accuracy against cost, px: its height, its width on a phone, half a point's side."""
PLACES: dict[str, tuple[Spec, tuple[int, int]]] = {
    "above": ({"dy": -18}, (0, -1)),
    "below": ({"dy": 18}, (0, 1)),
    "right": ({"dx": 14, "align": "left"}, (1, 0)),
    "left": ({"dx": -14, "align": "right"}, (-1, 0)),
}
"""Where a point's label may stand, and in which direction that is."""


@dataclass(frozen=True)
class Cliff:
    """Where accuracy before finetuning falls off.

    Attributes:
        percent: the last percent before the fall; without one, the largest that was measured.
        after: the first percent after it; None where accuracy falls off nowhere.
    """

    percent: int
    after: int | None

    @property
    def text(self) -> str:
        """What a reader is told."""
        if self.after is None:
            return f"No cliff up to {self.percent} %: no step loses more than {100 * CLIFF:.0f} % of the mAP50 it had."
        last = f"{self.percent} % is the last point before it" if self.percent else "it comes before the first point"
        return f"The cliff lies between {self.percent} % and {self.after} %: {last}."


def pareto(points: Sequence[Point], winner: str, limits: Mapping[str, float]) -> dict[str, Spec]:
    """mAP50 against every cost that at least two models have, by cost.

    Args:
        points: the models.
        winner: name of the one to mark; empty marks none.
        limits: metric -> what a model may cost at most, or `map50` -> what it must find at least.
    """
    found = {}
    for cost in COSTS:
        known = comparable(points, cost)
        if len(known) > 1:
            found[cost] = _pareto(known, winner, limits, cost)
    return found


def _pareto(points: Sequence[Point], winner: str, limits: Mapping[str, float], cost: str) -> Spec:
    backend = f" on {points[0].backend}" if cost == "latency_ms" and points[0].backend else ""
    near = {name: limit for name, limit in limits.items() if name in (cost, "map50")}
    x_scale, y_scale = _scale(points, cost, near), _scale(points, "map50", near)
    x = number("x", COSTS[cost] + backend, scale=x_scale)
    y = number("y", "mAP50 on the test images", scale=y_scale)
    place: Spec = {"x": x, "y": y}
    edge = [_spot(point, cost) for point in front([p for p in points if p.state != "probed"], cost)]
    ring = [_spot(point, cost) for point in points if point.name == winner]
    tooltip = tip(("title", "model"), ("map50", "mAP50"), ("cost", COSTS[cost].split(",")[0]), ("state", "state"))
    layers: list[Spec] = [
        {
            "data": rows(edge),
            "mark": {"type": "line", "interpolate": "step-after", "color": LINE, "strokeWidth": 2, "aria": False},
            "encoding": place,
        },
        *_limits(near, cost, {"x": x_scale, "y": y_scale}),
        *_spreads(points, cost, x),
        {
            "mark": {"type": "point", "size": 130, "strokeWidth": 2.5, "opacity": 1, "aria": False},
            "encoding": place | _state_colours(points),
        },
        {"data": rows(ring), "mark": RING, "encoding": place},
        *(
            {
                "mark": dict[str, Any]({"type": "text", "fontSize": 12, "aria": False}) | aside,
                "encoding": place | {"text": word("label")},
                "transform": [{"filter": f"datum.place === '{name}'"}],
            }
            for name, (aside, _) in PLACES.items()
        ),
        {  # what is touched and read out is larger than what is seen
            "mark": {"type": "point", "size": FINGER, "filled": True, "opacity": 0, "cursor": "pointer"},
            "encoding": place | {"tooltip": tooltip, "description": word("spoken")},
        },
    ]
    spots = [_spot(point, cost) for point in points]
    places = _label_places(spots, x_scale["domain"], y_scale["domain"])
    return chart(layers, HEIGHT, [spot | {"place": name} for spot, name in zip(spots, places, strict=True)])


def _label_places(spots: Sequence[Spec], x: Sequence[float], y: Sequence[float]) -> list[str]:
    """Which of `PLACES` each label takes: the first that is clear of all points and of the labels before it.

    As on a phone: what is clear there is clear on a wide screen too. Where none is free, the first.

    Args:
        spots: the points.
        x: lowest and highest value of the chart.
        y: likewise.
    """
    middles = [
        (NARROW * (s["x"] - x[0]) / (x[1] - x[0]), HEIGHT * (y[1] - s["y"]) / (y[1] - y[0]), 3.6 * len(s["label"]))
        for s in spots
    ]
    taken = [(left - DOT, top - DOT, left + DOT, top + DOT) for left, top, _ in middles]
    chosen = []
    for number_, (left, top, half) in enumerate(middles):
        others = [box for other, box in enumerate(taken) if other != number_]
        free = {}
        for name, (_, (across, down)) in PLACES.items():
            middle, line = left + across * (half + 14), top + down * 18
            free[name] = (middle - half, line - 8, middle + half, line + 8)
        inside = (item for item in free.items() if item[1][0] >= 0 and item[1][2] <= NARROW and item[1][3] <= HEIGHT)
        clear = (name for name, box in inside if not any(_overlap(box, other) for other in others))
        chosen.append(next(clear, "above"))
        taken.append(free[chosen[-1]])
    return chosen


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _state_colours(points: Sequence[Point]) -> Spec:
    """Stroke and fill by state, hollow where a model is only cut; the legend has both."""
    states = [state for state in COLOURS if any(point.state == state for point in points)]
    strokes = {STATES[state]: COLOURS[state] for state in states}
    fills = strokes | ({STATES["probed"]: CARD} if "probed" in states else {})
    legend = {"columns": 3}
    return {
        "stroke": word("state", scale=colours(strokes), legend=legend),
        "fill": word("state", scale=colours(fills), legend=legend),
    }


def _spot(point: Point, cost: str) -> dict[str, Any]:
    map50, x = point.values["map50"], point.values[cost]
    text, price = f"{map50:.3f}", f"{x:.{DIGITS[cost]}f} {UNITS[cost]}"
    return {
        **{"name": point.name, "title": point.title, "state": STATES[point.state], "x": x, "y": map50},
        **{
            "label": {"dense": "baseline", "control": "control"}.get(point.state, f"{point.percent} %"),
            "map50": f"{text} (seeds: {spread(point.row, 'map50')})" if point.row and point.spread else text,
            "cost": price,
        },
        "spoken": f"{point.title}: mAP50 {text}, {price}",
    }


def _spreads(points: Sequence[Point], cost: str, x: Spec) -> list[Spec]:
    """A bar from a standard deviation below the mean over seeds to one above it, where there are several seeds."""
    bars = [
        {"x": p.values[cost], "low": p.spread[0], "high": p.spread[1]} for p in points if p.spread and p.state != "int8"
    ]
    mark = {"type": "rule", "color": TUNED, "strokeWidth": 2, "strokeOpacity": 0.5, "aria": False}
    place = {"x": x, "y": number("low"), "y2": {"field": "high"}}
    return [{"data": rows(bars), "mark": mark, "encoding": place}] if bars else []


def _scale(points: Sequence[Point], metric: str, limits: Mapping[str, float]) -> Spec:
    """A scale with room around the points, and with a limit in it that is not far away."""
    values = [point.values[metric] for point in points]
    if metric == "map50":
        values += [end for point in points for end in point.spread]
    room = max(values) - min(values) or max(values) or 1.0
    limit = limits.get(metric)
    if limit is not None and min(values) - room / 2 <= limit <= max(values) + room / 2:
        values.append(limit)
    return {"domain": [max(0.0, min(values) - 0.08 * room), max(values) + 0.12 * room], "nice": False}


def _limits(limits: Mapping[str, float], cost: str, scales: Mapping[str, Spec]) -> list[Spec]:
    """Dashed lines where the constraints are; one that lies outside would only squeeze the points."""
    layers = []
    for channel, metric in (("x", cost), ("y", "map50")):
        low, high = scales[channel]["domain"]
        if metric in limits and low <= limits[metric] <= high:
            mark = {"type": "rule", "strokeDash": [5, 4], "color": FAINT, "aria": False}
            data = rows([{channel: limits[metric]}])
            layers.append({"data": data, "mark": mark, "encoding": {channel: number(channel)}})
    return layers


def cliff_of(points: Mapping[int, float]) -> Cliff | None:
    """The cliff of percent -> mAP50 before finetuning; None with fewer than two points."""
    if len(points) < 2:
        return None
    fall = find_fall(points, tuple(points))
    return Cliff(fall.last, fall.first)


def recovery(
    cut: Mapping[int, float],
    tuned: Mapping[int, float],
    cliff: Cliff | None,
    winner: int | None,
    control: float | None = None,
) -> Spec:
    """mAP50 along percent, before and after finetuning, the cliff marked.

    Args:
        cut: percent -> mAP50 of the cut model before finetuning.
        tuned: percent -> mAP50 after finetuning.
        cliff: where the first falls off.
        winner: percent to mark.
        control: mAP50 of the dense model that was trained on for as long, drawn as a line.
    """
    before, after = "before finetuning", "after finetuning"
    data = [
        {"percent": p, "y": value, "map50": f"{value:.3f}", "step": step, "asked": f"{p} %"}
        for step, series in ((before, cut), (after, tuned))
        for p, value in sorted(series.items())
    ]
    x = number(
        "percent",
        "channels asked to go, %",
        scale={"nice": False, "padding": 16},
        axis={"tickMinStep": 5, "tickCount": 8},
    )
    place: Spec = {"x": x, "y": number("y", "mAP50 on the test images", scale={"domainMin": 0, "nice": True})}
    colour = word("step", scale=colours({before: CUT, after: TUNED}), legend={"symbolType": "stroke"})
    dot: Spec = {"type": "point", "size": 90, "strokeWidth": 2, "opacity": 1, "aria": False}
    tooltip = tip(("asked", "pruned"), ("map50", "mAP50"), ("step", "measured"))
    layers = [
        *(_cliff_layers(cliff) if cliff and cliff.after is not None else []),
        *(_control_layers(control) if control is not None else []),
        {"mark": {"type": "line", "aria": False}, "encoding": place | {"color": colour}},
        {
            "mark": dot | {"fill": CARD, "stroke": CUT},
            "encoding": place,
            "transform": [{"filter": f"datum.step === '{before}'"}],
        },
        {
            "mark": dot | {"fill": TUNED, "stroke": TUNED},
            "encoding": place,
            "transform": [{"filter": f"datum.step === '{after}'"}],
        },
        {
            "data": rows([item for item in data if item["percent"] == winner and item["step"] == after]),
            "mark": RING,
            "encoding": place,
        },
        {
            "mark": {"type": "point", "size": FINGER, "filled": True, "opacity": 0},
            "encoding": place | {"detail": word("step"), "tooltip": tooltip},
        },
    ]
    return chart(layers, 320, data)


def _cliff_layers(cliff: Cliff) -> list[Spec]:
    data = rows([{"from": cliff.percent, "to": cliff.after, "text": f"cliff after {cliff.percent} %"}])
    x: Spec = {"x": number("from")}
    aside = {"align": "right", "dx": -5} if cliff.percent > 45 else {"align": "left", "dx": 5}  # where there is room
    text = {"type": "text", "baseline": "bottom", "y": "height", "dy": -6, "color": FAINT, **aside}
    band = {"type": "rect", "color": CUT, "opacity": 0.14, "aria": False}
    return [
        {"data": data, "mark": band, "encoding": x | {"x2": {"field": "to"}}},
        {"data": data, "mark": text, "encoding": x | {"text": word("text")}},
    ]


def _control_layers(map50: float) -> list[Spec]:
    data = rows([{"y": map50, "text": f"dense, trained on: {map50:.3f}"}])
    y: Spec = {"y": number("y")}
    rule: Spec = {"type": "rule", "color": DENSE, "strokeDash": [6, 4], "strokeWidth": 1.5, "aria": False}
    text: Spec = {"type": "text", "align": "left", "x": 4, "dy": -7, "color": DENSE, "aria": False}
    return [
        {"data": data, "mark": rule, "encoding": y},
        {"data": data, "mark": text, "encoding": y | {"text": word("text")}},
    ]
