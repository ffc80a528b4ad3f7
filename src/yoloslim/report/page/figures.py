"""Every chart of the page with its title, how to read it, and, where it cannot be drawn, why."""

from dataclasses import dataclass, field

from yoloslim.report.page import layers, results, training
from yoloslim.report.page.charts import Spec
from yoloslim.report.page.findings import PageContents
from yoloslim.report.page.points import COSTS
from yoloslim.report.page.recovery import Cliff, cliff_of, recovery
from yoloslim.report.page.tradeoff import pareto
from yoloslim.results.choice import control_of

CHOICES = {"latency_ms": "latency", "params_m": "parameters", "size_mb": "size"}


@dataclass(frozen=True)
class Figure:
    """A chart, or the reason why there is none.

    Attributes:
        name: unique on the page.
        label: what a screen reader calls it.
        spec: the chart; None if it is missing.
        why: why it is missing.
        choices: what can be chosen to be shown, by key, and its name.
        chosen: key of the choice that is shown at first.
        variants: key of a choice -> parts that replace those of `spec`.
        asks: what the choice is about.
        width: least width that it can be read at, px; on narrower screens its box scrolls.
    """

    name: str
    label: str
    spec: Spec | None = None
    why: str = ""
    choices: dict[str, str] = field(default_factory=dict)
    chosen: str = ""
    variants: dict[str, Spec] = field(default_factory=dict)
    asks: str = ""
    width: int = 0


def figures(findings: PageContents) -> dict[str, Figure]:
    """All charts by name."""
    found = [_tradeoff(findings), _recovery(findings), _layers(findings), _ridges(findings)]
    found += [_curve(findings, "loss", "training loss"), _curve(findings, "map50", "validation mAP50")]
    found += _quality(findings)
    return {figure.name: figure for figure in found}


def _tradeoff(findings: PageContents) -> Figure:
    specs = pareto(findings.points, findings.winner, findings.limits)
    if not specs:
        why = "fewer than two models have been measured, so there is nothing to compare yet"
        return Figure("pareto", "", why=why)
    first = next(iter(specs.values()))
    label = "mAP50 of every model against what it costs; the table of models below holds the same numbers"
    choices = {cost: CHOICES[cost] for cost in COSTS if cost in specs}
    return Figure("pareto", label, first, choices=choices, chosen=next(iter(choices)), variants=specs, asks="against")


def cliff(findings: PageContents) -> Cliff | None:
    """Where mAP50 before finetuning falls off, as the sweep says or as the points show; None with fewer than two."""
    before = findings.before_finetuning()
    sweep = findings.sweep
    if sweep is None or len(before) < 2:
        return cliff_of(before)
    last = max(before) if sweep.cliff is None else sweep.cliff
    after = [percent for percent in sorted(before) if percent > last]
    return Cliff(last, after[0] if after else None)


def _recovery(findings: PageContents) -> Figure:
    cut, tuned = findings.before_finetuning(), findings.after_finetuning()
    if not (set(cut) - {0} or tuned):
        return Figure("recovery", "", why="no percent has been pruned yet")
    winner = findings.best.percent if findings.best else None
    label = "mAP50 before and after finetuning along the percent of channels pruned"
    dense = control_of(findings.rows)
    control = dense.number("map50") if dense else None
    return Figure("recovery", label, recovery(cut, tuned, cliff(findings), winner, control))


def _layers(findings: PageContents) -> Figure:
    cut = {row.name: row for row in findings.rows if row.report.get("layers")}
    if not cut:
        return Figure("layers", "", why="no percent has been pruned yet")
    data = {name: layers.layer_rows(row.report) for name, row in cut.items()}
    first = findings.winner if findings.winner in data else next(iter(data))
    return Figure(
        "layers",
        "channels of every layer before and after the cut",
        layers.layer_chart(data[first]),
        choices={name: row.title for name, row in cut.items()},
        chosen=first,
        variants={name: {"data": {"values": rows}} for name, rows in data.items()},
        asks="model",
        width=13 * len(data[first]) + 60,
    )


def _ridges(findings: PageContents) -> Figure:
    arrays = next((row.gammas for row in findings.rows if row.gammas), None)
    if arrays is None:
        return Figure(
            "ridges",
            "",
            why="there is no `models/sparse/gammas.npz`: the sparse training has not run, or `sparse.penalty` is none",
        )
    spec = training.ridges(arrays)
    if spec is None:
        return Figure("ridges", "", why="the sparse training wrote down no scales that can be drawn")
    return Figure("ridges", "density of the BatchNorm scales, one ridge an epoch", spec)


def _curve(findings: PageContents, column: str, title: str) -> Figure:
    spec = training.curves(findings.rows, column, title)
    name = f"curve-{column}"
    return Figure(name, f"{title} along the epochs of every training", spec, "" if spec else f"no epoch has {title}")


def _quality(findings: PageContents) -> list[Figure]:
    why = _no_quality(findings)
    if why or findings.test is None:
        return [Figure("pr", "", why=why)]
    spec, classes = results.precision_recall(findings.compared, findings.test.classes, findings.winner)
    label = "precision against recall of the dense model and the winner"
    pr = Figure(
        "pr", label, spec, choices={name: name for name in classes}, chosen=results.MEAN, variants=classes, asks="class"
    )
    matrices = results.confusions(findings.compared, findings.test)
    return [
        pr,
        *(
            Figure(f"confusion-{item.row.name}", f"confusion matrix of {item.row.title}", spec, width=_side(spec))
            for item, spec in matrices
        ),
    ]


def _side(matrix: Spec) -> int:
    """As wide as high, so that numbers fit their cells."""
    return int(matrix["height"]) + 20


def _no_quality(findings: PageContents) -> str:
    """Why there is nothing to say about what was found on the test images."""
    if findings.test is None:
        return "the prepared data set is not there"
    if not findings.compared:
        return "no model has stored what it found on the test images"
    if not any(len(note) for note in findings.test.annotations):
        return "no test image holds an object"
    return ""
