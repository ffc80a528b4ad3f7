"""The chart of what pruning saves: accuracy against latency, parameters or size."""

from collections.abc import Mapping, Sequence
from typing import Any

from yoloslim.report.page.charts import (
    CARD,
    CUT,
    DENSE,
    FAINT,
    FINGER,
    INT8,
    LINE,
    RING,
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
from yoloslim.report.tables import marked, spread

COLOURS = {"dense": DENSE, "control": FAINT, "finetuned": TUNED, "int8": INT8, "probed": CUT}
DIGITS = {"latency_ms": 2, "params_m": 3, "size_mb": 2}
UNITS = {"latency_ms": "ms", "params_m": "M", "size_mb": "MB"}

HEIGHT, NARROW, DOT = 280, 260, 7
"""Of the chart of accuracy against cost, px: its height, its width on a phone, half a point's side."""
PLACES: dict[str, tuple[Spec, tuple[int, int]]] = {
    "above": ({"dy": -18}, (0, -1)),
    "below": ({"dy": 18}, (0, 1)),
    "right": ({"dx": 14, "align": "left"}, (1, 0)),
    "left": ({"dx": -14, "align": "right"}, (-1, 0)),
}
"""Where a point's label may stand, and in which direction that is."""


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
    legend = {"columns": {"expr": "width < 360 ? 2 : 3"}}  # of a phone's width three are cut off
    return {
        "stroke": word("state", scale=colours(strokes), legend=legend),
        "fill": word("state", scale=colours(fills), legend=legend),
    }


def _spot(point: Point, cost: str) -> dict[str, Any]:
    map50, x = point.values["map50"], point.values[cost]
    text, price = f"{map50:.3f}", f"{x:.{DIGITS[cost]}f} {UNITS[cost]}"
    if cost == "latency_ms":
        price = marked(price, point.values.get("latency_other_cores"))
    return {
        **{"name": point.name, "title": point.title, "state": STATES[point.state], "x": x, "y": map50},
        **{
            "label": f"{point.percent} %" if point.percent else STATES[point.state],
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
