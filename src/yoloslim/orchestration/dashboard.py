"""What a person sees of a sweep: a live table of points on a terminal, plain lines elsewhere; the winner at the end."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from yoloslim.config import SweepPoint, SweepResult
from yoloslim.evaluation.other_work import disturbed
from yoloslim.orchestration.points import WORK, Job, log_of
from yoloslim.orchestration.variant_run import Event
from yoloslim.report.tables import MARKED, MISSING, marked
from yoloslim.sweeping.search import Measured

OTHERS = "latency_other_cores"
WIDE = 110
"""Columns from which on the table also tells why a point was tried."""
STATES = {
    "probed": "cut",
    "finetuned": "finetuned",
    "failed": "[red]failed[/]",
    "pruned": "dropped",
    "running": "[yellow]running[/]",
    "again": "[yellow]again[/]",
}


@dataclass
class PointRow:
    """A point as it is shown."""

    name: str
    percent: int
    state: str
    why: str
    found: Measured = field(default_factory=Measured)
    missed: tuple[str, ...] = ()
    note: str = ""


class Dashboard:
    """Listens to a sweep and shows it."""

    def __init__(self, console: Console) -> None:
        self.console, self.start = console, time.monotonic()
        self.rows: dict[str, PointRow] = {}
        self.doing, self.line = "starting", ""
        self.job: Job | None = None
        self.live = Live(console=console, get_renderable=self.render, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def listen(self, event: Event) -> None:
        """Take note of an event; where there is no terminal, print it."""
        if event.kind == "line":
            self.line = event.text
            return
        if event.kind in ("stage", "warning"):
            self.doing, self.line = event.text, ""
            self._print(event.text)
            return
        if event.job is None:
            return
        row = self.rows.setdefault(event.job.point, PointRow(event.job.point, event.job.percent, "running", ""))
        _CHANGES[event.kind](row, event)
        if event.kind == "asked":
            self.job, self.line = event.job, ""
        running = sum(each.state in ("running", "again") for each in self.rows.values())
        self.doing = f"{running} point{'s' * (running != 1)} running"
        if event.kind != "ended":
            self._print(f"{event.job.name}: {_plain(event, row)}")

    def render(self) -> RenderableType:
        """The table and a line of what is going on."""
        seconds = time.monotonic() - self.start
        now = Text(f"{_clock(seconds)}  {self.doing}", style="bold", no_wrap=True, overflow="ellipsis")
        parts: list[RenderableType] = [points_table(list(self.rows.values()), self.console.width)] if self.rows else []
        line = self.line or self._last_line()
        last = [Text(line, style="dim", no_wrap=True, overflow="ellipsis")] if line else []
        return Group(*parts, now, *last)

    def _last_line(self) -> str:
        """What the job that was started last has to say; jobs of other checkouts write their logs there."""
        if self.job is None or self.rows[self.job.point].state != "running":
            return ""
        with suppress(OSError):
            text = (WORK / f"{log_of(self.job)}.log").read_bytes()[-500:].decode(errors="replace")
            return f"{self.job.name}: {text.strip().rpartition(chr(10))[2]}"
        return ""

    def _print(self, text: str) -> None:
        if not self.console.is_terminal:
            self.console.print(f"{_clock(time.monotonic() - self.start)}  {text}", highlight=False, soft_wrap=True)


def points_table(rows: list[PointRow], width: int, winner: str | None = None) -> Table:
    """All points, the winner's line in green; a narrow terminal gets fewer columns."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", collapse_padding=True)
    table.add_column("point")
    for name in ("cut mAP", "mAP", "ms", *(("params M",) if width >= 70 else ())):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    if width >= WIDE:
        table.add_column("why", overflow="fold")
    for row in sorted(rows, key=lambda r: (r.name.rpartition("/")[0], r.percent)):
        found = row.found
        numbers = [_number(found.before, "map50", 3), _number(found.deployed, "map50", 3)]
        numbers.append(marked(_number(found.deployed, "latency_ms", 2), found.deployed.get(OTHERS)))
        if width >= 70:
            numbers.append(_number(found.deployed or found.before, "params_m", 2))
        told = ": ".join(part for part in (row.why, row.missed[0] if row.missed else row.note) if part)
        cells = [escape(row.name) + " %", *numbers, "winner" if row.name == winner else STATES[row.state]]
        cells += [escape(told)] if width >= WIDE else []
        table.add_row(*cells, style="bold green" if row.name == winner else None)
    return table


def summary(result: SweepResult, width: int) -> Group:
    """How a sweep ended: all points, the winner and why, where its files are, what it took."""
    rows = [_row(point) for point in result.points]
    where = {None: "there is no cliff", 0: "already the first cut falls off"}.get(
        result.cliff, f"mAP falls off beyond {result.cliff} %"
    )
    took = f"{result.probes} cuts measured, {result.finetunings} finetuned in {_clock(result.seconds)}; "
    took += f"a 1 % grid would have finetuned {result.grid_finetunings}. Before finetuning {where}."
    took += f"\n{MARKED}." * any(disturbed(point.deployed.get(OTHERS)) for point in result.points)
    if result.winner is None:
        head = Text(f"No winner: {result.why}.", style="bold red")
        return Group(points_table(rows, width), head, Text(took))
    head = Text.assemble(("Winner ", "bold green"), (f"{result.winner} %", "bold green"), f": {result.why}.")
    return Group(points_table(rows, width, result.winner), head, Text(took), Text(_paths(result)))


def _paths(result: SweepResult) -> str:
    winner = next(point for point in result.points if point.name == result.winner)
    lines = []
    if winner.overrides:
        name = winner.name.rpartition("/")[0]
        lines = [f"  yoloslim sweep --apply {name}", "  dvc repro   restores from the cache:"]
    lines += [f"  models/{folder}/{winner.percent}/" for folder in ("finetune", "export", "atc")]
    return "\n".join([*lines, "  metrics/sweep.json", "  report/index.html"])


def _row(point: SweepPoint) -> PointRow:
    found = Measured(point.before, point.after, point.deployed)
    return PointRow(point.name, point.percent, point.status, point.why, found, point.missed, point.error)


def _asked(row: PointRow, event: Event) -> None:
    row.state, row.why = "running", event.text


def _again(row: PointRow, event: Event) -> None:
    row.state, row.note = "again", event.text


def _measured(row: PointRow, event: Event) -> None:
    row.found = event.found or row.found
    row.state, row.note = ("finetuned" if row.found.deployed else "probed"), ""


def _failed(row: PointRow, event: Event) -> None:
    row.state, row.note = "failed", event.text


def _dropped(row: PointRow, event: Event) -> None:
    row.state, row.note = "pruned", event.text


_CHANGES: dict[str, Callable[[PointRow, Event], None]] = {
    "asked": _asked,
    "again": _again,
    "ended": lambda row, event: None,
    "measured": _measured,
    "failed": _failed,
    "dropped": _dropped,
}


def _plain(event: Event, row: PointRow) -> str:
    if event.kind == "measured":
        found = row.found.deployed or row.found.before
        told = [f"{key} {found[key]:.4g}" for key in ("map50", "params_m") if key in found]
        if "latency_ms" in row.found.deployed:  # cuts are measured side by side, so their time says nothing
            told.append(marked(f"latency_ms {found['latency_ms']:.4g}", found.get(OTHERS)))
        return ", ".join(told)
    words = {"asked": "", "again": "once more, after: ", "failed": "failed: ", "dropped": "dropped: "}
    return words[event.kind] + event.text


def _number(metrics: dict[str, Any], name: str, digits: int) -> str:
    return f"{metrics[name]:.{digits}f}" if name in metrics else MISSING


def _clock(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
