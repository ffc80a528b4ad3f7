"""Files of `train.cache_dir` that hold what was found before, named by a hash of all that it depends on."""

import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from yoloslim.config import Params
from yoloslim.evaluation.evaluate import Evaluation, evaluate
from yoloslim.evaluation.processor import processor
from yoloslim.evaluation.remembered import evaluate_remembered
from yoloslim.files import sha256_file
from yoloslim.stages.code import MEMORY, Library
from yoloslim.stages.common import is_forced
from yoloslim.stages.listing import LISTING

CODE = {
    "onnxruntime": ("yoloslim.deploy.ascend.measure", "yoloslim.evaluation.predictor.onnxruntime"),
    "torch": ("yoloslim.stages.measuring", "yoloslim.evaluation.predictor.pytorch"),
}
"""Package that computes -> modules that find candidates, besides those that they import."""


def known_file(
    params: Params,
    kind: str,
    package: str,
    modules: Sequence[str],
    files: Sequence[Path],
    settings: Sequence[str | float],
) -> Path:
    """Where a finding lies, or should be put, of this code and machine.

    Args:
        params: all sections.
        kind: of finding, and folder of `train.cache_dir`.
        package: whose version counts.
        modules: whose code counts, and that of all that they import.
        files: the model, and what else it was found from.
        settings: whatever else it depends on.
    """
    library = Library(memory=MEMORY)
    code = {name: library.fingerprint(path) for name, path in library.closure(modules).items()}
    machine = [processor(), platform.node(), platform.python_version(), version(package)]
    parts = [machine, [sha256_file(file) for file in files], list(settings), sorted(code.items())]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
    return Path(params.train.cache_dir) / kind / key


def evaluating(params: Params, package: str, files: Sequence[Path], *settings: str) -> Callable[..., Evaluation]:
    """`evaluate` on the test images, which needs the network only once for a model, whatever is suppressed.

    Args:
        params: all sections.
        package: `torch` or `onnxruntime`, which computes.
        files: the model first.
        settings: what images become for it.
    """
    if is_forced() or not LISTING.is_file():
        return evaluate
    e = params.evaluation
    counts = [e.conf_thres, e.multi_label, e.batch, e.rect]
    told: list[str | float] = [*settings, params.imgsz, params.train.device, *counts]
    modules = [*CODE[package], "yoloslim.evaluation.remembered"]
    file = known_file(params, "candidates", package, modules, [*files, LISTING], told).with_suffix(".npz")
    return partial(evaluate_remembered, file=file, about=str(files[0].parent))
