"""What a data set holds and what did not get into it, as a person reads it on a terminal of 80 columns."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from yoloslim.data.voc import SPLITS

MOST_CLASSES = 30
"""Rows of the table; of more classes those with most boxes are shown."""


def show(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Print images and boxes by class and split, what was dropped and why, and notes.

    Args:
        report: of the stage `data`.
        console: where to; by default standard output, 80 columns wide where it is no terminal.
    """
    console = console or Console(width=None)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", overflow="fold")
    for split in SPLITS:
        table.add_column(split, justify="right", no_wrap=True)
    table.add_row("images", *(str(report["images"][s]) for s in SPLITS))
    table.add_row("  without objects", *(str(report["images_without_objects"][s]) for s in SPLITS))
    table.add_row("boxes", *(str(report["boxes_total"][s]) for s in SPLITS))
    rows = {name: [report["boxes"][s][name] for s in SPLITS] for name in report["classes"]}
    shown = list(rows) if len(rows) <= MOST_CLASSES else sorted(rows, key=lambda n: -sum(rows[n]))[:MOST_CLASSES]
    for name in shown:
        table.add_row(escape(f"  {name}"), *map(str, rows[name]))
    if len(rows) > len(shown):
        table.add_row(f"  and {len(rows) - len(shown)} classes with fewer boxes")
    console.print(table)
    if found := problems(report):
        table = Table("not as it was", "images", "boxes", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("first", overflow="fold")  # a long name is what people look for
        for what, images, boxes, examples in found:
            table.add_row(escape(what), images, boxes, escape(examples[0][:120]))
        console.print(table)
    for note in report["notes"]:
        console.print(f"- {escape(note)}", highlight=False)


def problems(report: Mapping[str, Any], most: int = 3) -> list[tuple[str, str, str, list[str]]]:
    """What was dropped or changed: what, how many images, how many boxes, the first of them, `most` at most."""
    found = []
    left_out = report["left_out"]
    if left_out:
        lost = sum(item.get("boxes", 0) for item in left_out)
        reasons = [item["reason"] for item in left_out[:most]]
        found.append(("images left out", str(len(left_out)), str(lost), reasons))
    unlabelled = report["images_without_xml"]
    if unlabelled:
        first = [str(name) for name in unlabelled[:most]]
        found.append(("images without annotation, not used", str(len(unlabelled)), "", first))
    for key, what in (("dropped_boxes", "dropped"), ("swapped_boxes", "swapped"), ("clipped_boxes", "clipped")):
        notes = report.get(key, [])
        by_reason = Counter(_kind(note["reason"]) for note in notes)
        for reason, count in by_reason.most_common(5):
            those = [note for note in notes if _kind(note["reason"]) == reason]
            images = len({note["file"] for note in those})
            first = [
                f"{note['file']}: {note['class']} {', '.join(f'{v:g}' for v in note['box'])}" for note in those[:most]
            ]
            found.append((f"boxes {what}: {reason}", str(images), str(count), first))
    if report["size_mismatches"]:
        first = [
            f"{item['name']}: {'x'.join(map(str, item['xml']))} stated, {'x'.join(map(str, item['image']))} px"
            for item in report["size_mismatches"][:most]
        ]
        found.append(("size differs from annotation", str(len(report["size_mismatches"])), "", first))
    if report["duplicates"]:
        first = [", ".join(item["names"]) for item in report["duplicates"][:most]]
        found.append(("in several splits", str(len(report["duplicates"])), "", first))
    return found


def _kind(reason: str) -> str:
    """A reason without its numbers."""
    if reason.startswith("shorter side"):
        return "too small"
    return "partly outside" if reason.startswith("partly outside") else reason
