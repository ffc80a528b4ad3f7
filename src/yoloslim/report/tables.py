"""The numbers as tables and sentences: for the terminal, Markdown and the page alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

from yoloslim.deploy.ascend.effects import TITLES as ASCEND_EFFECTS
from yoloslim.deploy.rockchip.effects import TITLES as NPU_EFFECTS
from yoloslim.evaluation.other_work import disturbed
from yoloslim.results.choice import baseline_of, control_of, indistinct
from yoloslim.results.records import Row, int8_title, is_number

MISSING = "–"
DISTURBED = "*"
"""Marks times that were taken while other programs used the machine, and speed-ups made of them."""
MARKED = f"{DISTURBED} timed while other programs used the machine: times are too long, speed-ups uncertain"


@dataclass(frozen=True)
class Grid:
    """A table of text; the first column holds words, the others numbers, except those in `words`."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[int] = frozenset({0})

    def markdown(self) -> str:
        """As a Markdown table."""
        rule = [":--" if i in self.words else "--:" for i in range(len(self.header))]
        lines = [self.header, rule, *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


Column = tuple[str, Callable[[Row], str]]


def comparison_grid(rows: Sequence[Row]) -> Grid:
    """One line a model: what it finds, weighs and does a second, on the deployment runtime where it has been there."""
    return _grid(
        _with_int8(rows),
        [("model", lambda row: row.title), *_measures(Row.best), *_spreads(rows), ("measured with", _backend)],
    )


def pytorch_grid(rows: Sequence[Row]) -> Grid:
    """The same in PyTorch at fp32."""
    trained = [row for row in rows if row.trained]
    backend = ("measured with", lambda row: str(row.trained.get("backend", MISSING)))
    return _grid(trained, [("model", lambda row: row.title), *_measures(Row.number), *_spreads(rows), backend])


def twin_grid(rows: Sequence[Row]) -> Grid:
    """What an Ascend board is predicted to change, in points of mAP50, one effect at a time."""
    predicted = [row for row in rows if row.deployed.get("twin")]

    def change(effect: str) -> Callable[[Row], str]:
        return lambda row: points(row.deployed["twin"][effect]["map50"])

    columns: list[Column] = [
        ("model", lambda row: row.title),
        ("images", lambda row: f"{row.deployed['twin']['reference']['images']:.0f}"),
        ("mAP50", lambda row: share(row.deployed["twin"]["reference"]["map50"])),
        *((title, change(effect)) for effect, title in ASCEND_EFFECTS.items()),
    ]
    return _grid(predicted, columns)


def npu_grid(rows: Sequence[Row]) -> Grid:
    """What models compiled for a Rockchip NPU find in its simulator, one line a model and precision."""
    header = ("model", "precision", "chip", "images", "mAP50", "mAP50-95", "size MB", "layers off the NPU")
    lines = [
        (
            *(row.title, int8_title(found, precision), str(found.get("chip", MISSING)), number(found.get("images"), 0)),
            *(share(found.get("map50")), share(found.get("map50_95"))),
            *(number(found.get("size_mb"), 1), number(found.get("layers_off_npu"), 0)),
        )
        for row in rows
        for precision, found in row.simulated.items()
    ]
    return Grid(header, tuple(lines), frozenset({0, 1, 2}))


def npu_twin_grid(rows: Sequence[Row]) -> Grid:
    """What a Rockchip NPU is predicted to change, in points of mAP50, one effect at a time; fp16 has one alone."""
    header = ("model", "precision", "chip", "images", "mAP50", *NPU_EFFECTS.values())
    lines = [
        (
            *(row.title, int8_title(found, precision), str(found.get("chip", MISSING))),
            *(f"{twin['reference']['images']:.0f}", share(twin["reference"]["map50"])),
            *(points(twin[effect]["map50"]) if effect in twin else MISSING for effect in NPU_EFFECTS),
        )
        for row in rows
        for precision, found in row.simulated.items()
        if (twin := found.get("twin"))
    ]
    return Grid(header, tuple(lines), frozenset({0, 1, 2}))


def pruning_grid(rows: Sequence[Row]) -> Grid:
    """What every step from cut to deployment did to mAP50, and the proof that the cut is exact."""
    cut = [row for row in rows if row.pruned]

    def step(key: str) -> Callable[[Row], str]:
        return lambda row: share(row.pruned.get(key))

    columns: list[Column] = [
        ("asked %", lambda row: str(row.percent)),
        ("really cut %", lambda row: number(row.pruned.get("percent_effective"), 1)),
        ("cut", step("map50_cut")),
        ("folded", step("map50_folded")),
        ("recalibrated", step("map50_recalibrated")),
        ("finetuned", lambda row: share(row.trained.get("map50"))),
        ("deployed", lambda row: share(row.deployed.get("map50"))),
        ("cut differs", lambda row: small(row.pruned.get("certificate_max_diff"))),
        ("ONNX differs", lambda row: small(row.exported.get("onnx_max_diff"))),
        ("ATC", lambda row: {"not_available": "not installed"}.get(row.compiled, row.compiled) or MISSING),
    ]
    return _grid(cut, columns, words={9})


def comparison_table(rows: Sequence[Row], best: Row | None = None, width: int = 80) -> Table:
    """The comparison for a terminal, `best` marked, without the columns that it has no room for.

    Args:
        rows: one a model.
        best: the one to mark.
        width: columns of the terminal; 80 are enough for every number whole, a long backend goes on in a second line.
    """
    left_out = {"VOC07", "precision", "recall", "GFLOPs", "size MB", "ms p90", "seeds", "mAP50-95 of seeds"}
    left_out |= {"FPS", "mAP50 of seeds"} if width < 100 else set()
    grid = comparison_grid(rows)
    shown = [index for index, name in enumerate(grid.header) if name not in left_out]
    table = Table(
        title="What pruning costs and saves",
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        collapse_padding=True,
        pad_edge=False,
    )
    for index in shown:
        cells = [grid.header[index], *(line[index] for line in grid.rows)]
        if index < len(grid.header) - 1:
            justify: Literal["left", "right"] = "left" if index in grid.words else "right"
            table.add_column(cells[0], justify=justify, no_wrap=True, min_width=max(map(len, cells)))
        else:
            table.add_column(cells[0], overflow="fold")
    for row, line in zip(_with_int8(rows), grid.rows, strict=True):
        table.add_row(*(line[index] for index in shown), style="bold green" if row is best else None)
    table.caption, table.caption_justify = disturbance(rows), "left"
    return table


def disturbance(rows: Sequence[Row]) -> str | None:
    """What the mark beside a time means; None where there is none."""
    if not any(each.disturbed for each in _with_int8(rows)):
        return None
    return MARKED


def in_markdown(note: str) -> str:
    """A sentence that may begin with the mark, which would begin a list."""
    return f"\\{note}" if note.startswith(DISTURBED) else note


def recommendation(row: Row, rows: Sequence[Row]) -> str:
    """One sentence on a pruned model against the dense ones; speed is told only where both ran on one backend."""
    baseline, control = baseline_of(rows), control_of(rows)
    text = f"{row.percent} % pruned" + (" and finetuned" if row.trained else "")
    text += f": mAP50 {share(row.best('map50'))}"
    if baseline is None:
        return text + "."
    longer = f", trained for as long {share(control.best('map50'))}" if control else ""
    text += f" (baseline {share(baseline.best('map50'))}{longer})"
    for key, name in (("params_m", "parameters"), ("gflops", "FLOPs")):
        mine, theirs = row.number(key), baseline.number(key)
        if mine is not None and theirs:
            text += f", {100 * mine / theirs:.0f} % of the {name}"
    speedup = row.best("speedup")
    if speedup:
        beside = f", timed while other programs used {row.disturbed:.1f} cores" if row.disturbed else ""
        text += f", {speedup:.2f}x the speed ({row.backend}{beside})"
    text += "."
    if alike := indistinct(row, rows):
        others = ", ".join(f"{each.title} ({spread(each, 'map50')})" for each in alike)
        seeds = f"{row.trained['repeats']:.0f} seeds ({spread(row, 'map50')})"
        text += f" By the mAP50 of {seeds} it cannot be told apart from {others}."
    return text


def spread(row: Row, key: str) -> str:
    """Mean and standard deviation over seeds, such as `0.812 ± 0.004`; a dash where it was trained once."""
    mean, deviation = row.trained.get(f"{key}_mean"), row.trained.get(f"{key}_std")
    return f"{share(mean)} ± {share(deviation)}" if is_number(mean) and is_number(deviation) else MISSING


def number(value: float | None, digits: int) -> str:
    """A rounded number, or a dash."""
    return MISSING if not is_number(value) else f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """A metric in [0, 1]."""
    return number(value, 3)


def points(change: float) -> str:
    """A change of a metric in [0, 1], in points of a hundred, such as `-0.3`; a small one is `+0.0`."""
    return f"{round(100 * change, 1) + 0.0:+.1f}"


def marked(text: str, other_cores: object) -> str:
    """A time or a speed-up, with a mark where other programs used so many cores meanwhile; a dash stays one."""
    return text + DISTURBED * (disturbed(other_cores) and text != MISSING)


def small(value: float | None) -> str:
    """A tiny difference."""
    return MISSING if not is_number(value) else f"{value:.1e}"


def _measures(value: Callable[[Row, str], float | None]) -> list[Column]:
    def column(key: str, digits: int) -> Callable[[Row], str]:
        return lambda row: number(value(row, key), digits)

    def timed(key: str, digits: int) -> Callable[[Row], str]:
        return lambda row: marked(column(key, digits)(row), value(row, "latency_other_cores"))

    return [
        ("mAP50", column("map50", 3)),
        ("mAP50-95", column("map50_95", 3)),
        ("VOC07", column("map50_voc07", 3)),
        ("precision", column("precision", 3)),
        ("recall", column("recall", 3)),
        ("params M", column("params_m", 2)),
        ("GFLOPs", column("gflops", 2)),
        ("size MB", column("size_mb", 1)),
        ("ms p50", timed("latency_ms", 1)),
        ("ms p90", timed("latency_p90_ms", 1)),
        ("FPS", timed("fps", 0)),
        ("speed-up", timed("speedup", 2)),
    ]


def _spreads(rows: Sequence[Row]) -> list[Column]:
    """Mean and spread, where a model was trained with several seeds."""
    if not any(row.trained.get("repeats") for row in rows):
        return []

    def of_seeds(key: str) -> Callable[[Row], str]:
        return lambda row: MISSING if " int8 " in row.name else spread(row, key)

    return [
        ("seeds", lambda row: number(row.trained.get("repeats"), 0)),
        ("mAP50 of seeds", of_seeds("map50")),
        ("mAP50-95 of seeds", of_seeds("map50_95")),
    ]


def _with_int8(rows: Sequence[Row]) -> list[Row]:
    """Every model, followed by its int8 versions."""
    return [each for row in rows for each in row.with_int8()]


def _backend(row: Row) -> str:
    return row.backend or MISSING


def _grid(rows: Sequence[Row], columns: Sequence[Column], words: set[int] | None = None) -> Grid:
    header = tuple(name for name, _ in columns)
    text = frozenset({0} | (words if words is not None else {len(columns) - 1}))
    return Grid(header, tuple(tuple(show(row) for _, show in columns) for row in rows), text)
