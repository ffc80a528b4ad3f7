"""What was cut, layer by layer, and the proof that the cut is exact, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from yoloslim.report.tables import MISSING, Grid, number, small
from yoloslim.results.records import Row


def totals_grid(rows: Sequence[Row]) -> Grid:
    """One line a percent: what was asked and what came of it, before -> after; units and times only where asked for."""
    header: tuple[str, ...] = (
        *("model", "ranked by", "asked %", "really cut %", "limit %", "layers clipped"),
        *("channels", "params M", "GFLOPs", "padded to 16"),
    )
    cut = [row for row in rows if row.report.get("after")]
    lines, words = [_totals(row) for row in cut], {0, 1}
    if any(row.report.get("removed_units") for row in cut):
        header += ("units out",)
        lines = [(*line, str(len(row.report.get("removed_units", [])))) for line, row in zip(lines, cut, strict=True)]
    if any("target_ms" in row.report.get("latency", {}) for row in cut):
        header += ("ms asked", "ms by the table", "ms measured", "measured with")
        lines = [(*line, *_times(row)) for line, row in zip(lines, cut, strict=True)]
        words.add(len(header) - 1)
    return Grid(header, tuple(lines), frozenset(words))


def _totals(row: Row) -> tuple[str, ...]:
    report = row.report
    before, after = report.get("before", {}), report["after"]

    def change(key: str, digits: int) -> str:
        return f"{number(before.get(key), digits)} → {number(after.get(key), digits)}"

    return (
        row.title,
        ranked_by(report),
        number(report.get("requested_percent", row.percent), 0) + _share_of(report),
        number(report.get("effective_percent"), 1),
        number(report.get("percent_limit"), 1),
        str(len(report.get("clipped", {}))),
        change("channels", 0),
        change("params_m", 3),
        change("gflops", 3),
        change("gflops_padded", 3),
    )


def _share_of(report: Mapping[str, Any]) -> str:
    """What a percent was asked of, where that is not the channels that `really cut %` counts."""
    if report.get("flops"):
        return " of the FLOPs"
    return " of the latency" if "target_ms" in report.get("latency", {}) else ""


def ranked_by(report: Mapping[str, Any]) -> str:
    """The importance, what made its scores of layers comparable, and whether it was weighed against the cost."""
    how, power = report.get("normalise", "none"), report.get("cost_power", 0)
    per_cost = (" per cost" if power == 1 else f" per cost^{power:g}") if power else ""
    return str(report.get("importance", MISSING)) + (f", {how}" if how != "none" else "") + per_cost


def _times(row: Row) -> tuple[str, ...]:
    """Of a cut by latency: the budget, what the table of layers alone predicted, and what was measured in the end."""
    found = row.report.get("latency", {})
    measured = row.report.get("latency_ms") if found else None
    values = (found.get("target_ms"), found.get("predicted_ms"), measured)
    runtime = f"{found['runtime']} {found['version']}" if found else MISSING
    return (*(number(value, 2) for value in values), runtime)


def certificate_grid(rows: Sequence[Row]) -> Grid:
    """One line a percent and comparison: the largest difference of each head's raw outputs."""
    proved = [row for row in rows if row.report.get("certificate")]
    heads = max((len(row.report["certificate"]["cut"]) for row in proved), default=0)
    header = ("model", "compared", *(f"head {i + 1}" for i in range(heads)), "allowed", "images")
    lines = []
    for row in proved:
        proof = row.report["certificate"]
        random, real = proof["images"]
        images = f"{random} random, {real} real"
        inexact = " (not exact here)" if proof.get("inexact") else ""
        for key, name, allowed in (
            ("cut", "cut = masked", small(proof["tolerance"])),
            ("folded", f"folded = frozen{inexact}", "" if inexact else small(proof["tolerance"])),
            ("border", "folded, zero padding", ""),
        ):
            lines.append((row.title, name, *(small(value) for value in proof[key]), allowed, images))
    return Grid(header, tuple(lines), frozenset({0, 1, len(header) - 1}))


def layers_grid(row: Row) -> Grid:
    """One line a layer; a BatchNorm counts with the convolution before it. What layers got back, if any got some."""
    clipped = row.report.get("clipped", {})
    norms: dict[str, int] = {}
    for layer in row.report["layers"]:
        if layer["kind"] == "batchnorm":
            norms[_parent(layer["path"])] = layer["params"]
    lines = [
        _layer(layer, norms.get(_parent(layer["path"]), 0), clipped.get(layer["path"], 0))
        for layer in row.report["layers"]
        if layer["kind"] != "batchnorm"
    ]
    header = ("layer", "kept", "of", "%", "params", "MFLOPs", "padded to 16", "given back")
    shown = len(header) if any(line[-1] for line in lines) else len(header) - 1
    return Grid(header[:shown], tuple(line[:shown] for line in lines))


def _layer(layer: dict[str, Any], norm: int, given_back: int) -> tuple[str, ...]:
    return (
        layer["path"].removeprefix("model."),
        str(layer["kept"]),
        str(layer["total"]),
        number(100 * layer["kept"] / max(layer["total"], 1), 0),
        f"{layer['params'] + norm:,}".replace(",", " "),
        number(2e-6 * layer["macs"], 2),
        number(2e-6 * layer.get("macs_padded", 0), 2),
        str(given_back) if given_back else "",
    )


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def layers_markdown(row: Row) -> str:
    """The table of layers of one percent under its own heading."""
    return f"## {row.title}\n\n{layers_grid(row).markdown()}\n"
