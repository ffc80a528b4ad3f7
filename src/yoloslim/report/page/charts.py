"""What all charts of the page share: colours that follow light and dark, and the parts that specs are made of.

Charts are Vega-Lite specifications, plain data. Colours are the page's CSS variables, which the SVG that Vega draws
resolves by itself, so that a change between light and dark needs no script.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
INK, FAINT, LINE, CARD, ACCENT = "var(--ink)", "var(--faint)", "var(--line)", "var(--card)", "var(--accent)"
DENSE, CUT, TUNED, INT8 = "var(--dense)", "var(--cut)", "var(--tuned)", "var(--int8)"
FINGER = 900
"""Area of what can be touched around a point, px²."""
RING: Spec = {"type": "point", "size": 460, "color": ACCENT, "strokeWidth": 3, "opacity": 1, "aria": False}
"""Around the winner."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"

_AXIS = {
    **{"labelColor": FAINT, "titleColor": FAINT, "domainColor": LINE, "tickColor": LINE, "gridColor": LINE},
    **{"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 500, "titlePadding": 8, "tickSize": 4},
}
CONFIG: Spec = {
    "font": FONT,
    "background": "transparent",
    "view": {"stroke": None},
    "axis": _AXIS,
    "axisX": {"grid": False, "tickCount": 8},
    "axisY": {"domain": False, "ticks": False, "tickCount": 6},
    "legend": {
        **{"labelColor": INK, "titleColor": FAINT, "labelFontSize": 12, "orient": "top", "title": None},
        **{"direction": "horizontal", "offset": 6, "symbolStrokeWidth": 2, "labelLimit": 260, "columnPadding": 14},
    },
    "text": {"color": INK, "fontSize": 12},
    "rule": {"color": FAINT},
    "line": {"strokeWidth": 2},
}


def chart(layers: Sequence[Spec], height: int, data: Sequence[Mapping[str, Any]] = (), **more: Any) -> Spec:
    """A chart as wide as its box, of layers that share `data` (rows of plain values)."""
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": CONFIG,
        "data": {"values": list(data)},
        "layer": list(layers),
        **more,
    }


def rows(values: Sequence[Mapping[str, Any]]) -> Spec:
    """Data of a layer's own."""
    return {"values": list(values)}


def number(field: str, title: str | None = None, **more: Any) -> Spec:
    """A quantitative channel; without a title it takes that of the layers beside it."""
    return {"field": field, "type": "quantitative", **({"title": title} if title else {}), **more}


def word(field: str, title: str | None = None, **more: Any) -> Spec:
    """A nominal channel."""
    return {"field": field, "type": "nominal", "title": title, **more}


def tip(*lines: tuple[str, str]) -> list[Spec]:
    """Lines of a tooltip: field and what it is called; numbers come as text, rounded where they are made."""
    return [{"field": field, "type": "nominal", "title": title} for field, title in lines]


def colours(by_name: Mapping[str, str]) -> Spec:
    """A scale with a colour for each name, in this order."""
    return {"domain": list(by_name), "range": list(by_name.values())}
