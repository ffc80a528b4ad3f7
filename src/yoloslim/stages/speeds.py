"""Speeds that are known already: a latency is one of a model on a machine, however its detections are counted.

A stage that measures accuracy and speed runs again when a threshold changes, and need not time the same model anew,
which takes longer than all else where other programs are at work. So what was timed is kept in `speed/` of
`train.cache_dir`, under a hash of all that it depends on. `dvc repro --force` times again, and so does every run after
one that other programs disturbed.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from yoloslim.config import Params
from yoloslim.errors import YoloslimError
from yoloslim.evaluation.other_work import disturbed
from yoloslim.files import read_json, write_json
from yoloslim.stages.common import is_forced
from yoloslim.stages.known import known_file

logger = logging.getLogger("yoloslim")

Speed = dict[str, float | str]
"""Name -> number or text; `latency_other_cores` tells whether other programs disturbed it."""

CODE = {
    "onnxruntime": ("yoloslim.deploy.ascend.measure", "yoloslim.evaluation.predictor.onnxruntime"),
    "torch": ("yoloslim.stages.costs", "yoloslim.evaluation.predictor.pytorch"),
}
"""Package that computes -> modules whose code a latency depends on, and all that they import."""


def known_speed(
    params: Params, package: str, files: Sequence[Path], settings: Sequence[int], measure: Callable[[], Speed]
) -> Speed:
    """What `measure` found before for the same files, settings, code, packages and machine, or finds now.

    Args:
        params: all sections.
        package: `torch` or `onnxruntime`.
        files: the model that is timed, and what it is compared with.
        settings: threads, and how often.
        measure: times it.
    """
    kept = known_file(params, "speed", package, CODE[package], files, settings).with_suffix(".json")
    known = None if is_forced() else _read(kept)
    if known is not None:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.stat().st_mtime))
        logger.info("%s: speed as measured on %s; neither model nor machine changed", files[0].parent, when)
        return known
    found = measure()
    if not disturbed(found["latency_other_cores"]):
        with suppress(OSError, YoloslimError):  # the next run times it again
            write_json(kept, found)
    return found


def _read(file: Path) -> dict[str, Any] | None:
    """What is kept; None where there is nothing, or a file that is damaged."""
    try:
        found = read_json(file) if file.is_file() else None
    except (YoloslimError, OSError):
        return None
    return found if isinstance(found, dict) and "latency_other_cores" in found else None
