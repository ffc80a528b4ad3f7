"""The chart of what was cut, layer by layer."""

from collections.abc import Mapping, Sequence
from typing import Any

from yoloslim.report.page.charts import LINE, TUNED, Spec, chart, number, tip, word


def layer_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Channels before and after a cut of every layer that has a BatchNorm, as `layer_chart` takes them."""
    clipped = report.get("clipped", {})
    found = []
    for layer in report["layers"]:
        if layer["kind"] == "batchnorm":
            kept, total = layer["kept"], layer["total"]
            name = layer["path"].removeprefix("model.").removesuffix(".bn")
            text = f"{kept} of {total} ({100 * kept / max(total, 1):.0f} %)"
            back = str(clipped.get(layer["path"], 0))
            found.append({"layer": name, "kept": kept, "total": total, "text": text, "back": back})
    return found


def layer_chart(data: Sequence[Mapping[str, Any]]) -> Spec:
    """Channels of every layer, in the order of the network: before (pale) and kept."""
    axis = {"labelAngle": -90, "labelFontSize": 9, "labelOverlap": False, "ticks": False}
    x = word("layer", "layer", sort=None, axis=axis)
    tooltip = tip(("layer", "layer"), ("text", "channels kept"), ("back", "given back"))
    both: list[Spec] = [
        {
            "mark": {"type": "bar", "color": LINE},
            "encoding": {"x": x, "y": number("total", "channels"), "tooltip": tooltip},
        },
        {
            "mark": {"type": "bar", "color": TUNED, "aria": False},
            "encoding": {"x": x, "y": number("kept"), "tooltip": tooltip},
        },
    ]
    return chart(both, 280, data)
