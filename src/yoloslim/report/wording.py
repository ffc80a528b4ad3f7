"""The sentences that report.md and the page share."""

from collections.abc import Mapping, Sequence
from typing import Any

from yoloslim.config.results import SweepResult
from yoloslim.ranges import few_images
from yoloslim.report.sweep_table import asked_for
from yoloslim.report.tables import disturbance, recommendation, share, small
from yoloslim.results.choice import MAX_DROP, dense_of
from yoloslim.results.records import Row
from yoloslim.results.sweep_file import chosen_point, point_metrics, point_title

CUT = (
    "Above the limit some layer would lose all its channels: a clipped layer was given channels back. A cube "
    "unit computes 16 channels at once at fp16: padded to 16 counts what it really does."
)
PROOF = (
    "Largest difference of the raw outputs, in float64: the cut model against the masked one, and the cut and folded "
    "one against the one whose doomed channels are frozen. The last line of each is what folding cannot see at "
    "zero-padded borders; it is no fault."
)
NPU_TITLE = "Compiled for a Rockchip NPU"
NPU_TEXT = (
    "Accuracy of the compiled models in the NPU's simulator, on so many of the test images, the first; a simulator has "
    "no speed to tell."
)
NPU_TWIN_TITLE = "What the NPU is predicted to change"
NPU_TWIN_TEXT = (
    "Points of mAP50 against the exported graph, one kind of rounding at a time, computed on this machine's CPU by the "
    "arithmetic that the NPU's simulator was found to follow. Checked for yolov5n; of other networks it says how large "
    "a change is, not which."
)
TWIN_TITLE = "What the board is predicted to change"
TWIN_TEXT = (
    "Points of mAP50 against the exported graph, one peculiarity of the board at a time, emulated on this machine's "
    "CPU by documented formulas. Nothing here was measured on a board."
)


NOTHING = 0.1
"""mAP50 below which a model is of no use."""


def headline(best: Row | None, rows: Sequence[Row], sweep: SweepResult | None = None) -> str:
    """The model to ship in one sentence."""
    point = chosen_point(sweep) if sweep else None
    if sweep and not sweep.winner:
        closest = f"; {point_title(point)} comes closest" if point else ""
        return f"No model satisfies what was asked{closest}."
    if best is None and point is not None:
        return f"{point_title(point)} and finetuned: mAP50 {share(point_metrics(point).get('map50'))}."
    return recommendation(best, rows) if best else "Nothing has been pruned yet."


def why(best: Row | None, rows: Sequence[Row], sweep: SweepResult | None = None) -> str:
    """Why it is that one."""
    if sweep:
        reason = f"Chosen as {sweep.why}" if sweep.winner else sweep.why[:1].upper() + sweep.why[1:]
        return f"Asked for: {asked_for(sweep)}. {reason}."
    dense = dense_of(rows)
    if best is None or dense is None:
        return ""
    warning = careful(best, rows)
    if warning:
        return warning
    name = "the baseline" if dense.kind == "baseline" else "the dense model trained for as many epochs"
    mine, floor = best.best("map50") or 0.0, (dense.best("map50") or 0.0) - MAX_DROP
    if mine >= floor:
        return f"Recommended as the smallest model that loses no more than {MAX_DROP:g} mAP50 against {name}."
    return f"Every pruned model loses more than {MAX_DROP:g} mAP50 against {name}; this one loses least."


def careful(best: Row | None, rows: Sequence[Row]) -> str:
    """What must be said of a model that finds next to nothing; empty of others."""
    found = best.best("map50") if best else None
    dense = next((row.best("map50") for row in rows if row.kind == "baseline"), None)
    if dense is not None and dense < NOTHING:
        return (
            f"Careful: already the baseline finds next to nothing (mAP50 {share(dense)}). That is no matter of "
            "pruning: look at the labels (report/labels.png), train longer, or start from weights that know more."
        )
    if found is not None and found < NOTHING:
        return (
            f"Careful: this model finds next to nothing (mAP50 {share(found)}); no pruned one is better. Finetune for "
            "more epochs, or prune less."
        )
    return ""


def proof(rows: Sequence[Row]) -> str:
    """The equality certificate in one sentence; empty without one."""
    proved = [row.report["certificate"] for row in rows if row.report.get("certificate")]
    if not proved:
        return ""
    worst, allowed = max(max(item["cut"]) for item in proved), min(item["tolerance"] for item in proved)
    return (
        "Cutting channels out changes nothing but size: on random and real images the raw outputs of every cut model "
        f"and of the same one with these channels masked differ by {small(worst)} at most; allowed is {small(allowed)}."
    )


def notes(rows: Sequence[Row], data: Mapping[str, Any]) -> list[str]:
    """What a reader must know to read the numbers rightly; `data` is the report of the stage data, or empty."""
    ways = sorted({str(row.deployed["preprocessing"]) for row in rows if row.deployed.get("preprocessing")})
    backends = sorted({row.backend for row in rows if row.deployed})
    found = ["Metrics are of the test split. Latency and FPS are of single images on the backend named beside them."]
    boxes = data.get("boxes", {})
    untrained = [name for name, count in boxes.get("train", {}).items() if not count and boxes["test"].get(name)]
    if untrained:
        found.append(
            f"No box of {', '.join(untrained[:8])}{' ...' if len(untrained) > 8 else ''} was trained on, but the test "
            "split has some: they count as 0 in every mean."
        )
    if backends:
        shown = f"Deployed models ran on {', '.join(backends)}"
        found.append(shown + (f", preprocessing {', '.join(ways)}." if ways else "."))
    if chosen := sorted({str(row.trained["suppression"]) for row in rows if row.trained.get("suppression")}):
        found.append(f"Suppression of boxes that overlap: {'; '.join(chosen)}.")
    timed = [row for row in rows if row.deployed.get("speedup")]
    if timed and all(row.deployed.get("latency_session") for row in timed):
        found.append("Latencies and speed-ups of deployed models are of one session, all models in turn.")
    elif timed:
        found.append(
            "Speed-ups are timed in turn with the baseline. Latencies are each of its own moment: where the two "
            "disagree, believe the speed-up."
        )
    if said := disturbance(rows):
        found.append(said + ".")
    for row in rows:
        unknown = {runtime: values.get("latency_unknown") for runtime, values in row.quantized.items()}
        found += [
            f"int8 of {row.title} has no latency on {runtime}: {why}. To time it again on a quiet machine: "
            f"`dvc repro --force --single-item measure_int8@{row.name.removeprefix('prune@')}`."
            for runtime, why in unknown.items()
            if why
        ]
    if any(row.trained.get("repeats") for row in rows):
        found.append(
            "Where a model was finetuned with several seeds, the mean of all and their standard deviation, in PyTorch, "
            "stand beside what is its own: it is the first seed's, and the chart has a bar for the others."
        )
    found += [f"int8 of {name} is {few_images(count)}." for count, name in _few_calibrated(rows)]
    if any(row.compiled == "not_available" for row in rows):
        found.append(
            "Ascend's ATC is not installed here: no model was compiled for Ascend, and nothing here was measured on "
            "Ascend hardware. `models/atc/*/atc.sh` compiles on a machine with CANN."
        )
    return found


def _few_calibrated(rows: Sequence[Row]) -> list[tuple[int, str]]:
    """Versions whose ranges rest on too few images: how many those are, and what it is a version of, for what."""
    found = []
    for row in rows:
        every = row.quantized | {f"rknn {precision}": values for precision, values in row.simulated.items()}
        counts = {name: values.get("calibration_images") or 0 for name, values in every.items()}
        for count in sorted({each for each in counts.values() if each and few_images(each)}):
            found.append((count, f"{row.title} ({', '.join(name for name, each in counts.items() if each == count)})"))
    return found
