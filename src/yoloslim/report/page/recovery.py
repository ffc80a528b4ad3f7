"""The chart of accuracy along percent, before and after finetuning, and the cliff in it."""

from collections.abc import Mapping
from dataclasses import dataclass

from yoloslim.report.page.charts import (
    CARD,
    CUT,
    DENSE,
    FAINT,
    FINGER,
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
from yoloslim.report.wording import NOTHING
from yoloslim.sweeping.cliff import CLIFF, find_fall


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


def cliff_of(points: Mapping[int, float]) -> Cliff | None:
    """The cliff of percent -> mAP50 before finetuning; None of less than two points, or of a model of no use."""
    if len(points) < 2 or points.get(0, 1.0) < NOTHING:
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
