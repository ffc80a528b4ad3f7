"""What every stage shares: reading params, where files lie, how it ends."""

import argparse
import gc
import logging
import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil

from yoloslim.config import Params, load_params
from yoloslim.cores import at_most_cores
from yoloslim.errors import Interrupted, YoloslimError
from yoloslim.extras import or_advice
from yoloslim.quiet import hush
from yoloslim.runner.headers import limit_megapixels
from yoloslim.terminal import sentence, write_anything

T = TypeVar("T")

DATA = Path("data/voc")
MODELS, METRICS, PLOTS, DETECTIONS = Path("models"), Path("metrics"), Path("plots"), Path("detections")
BASELINE = "baseline"
"""Stands for the zero row wherever a percent may stand."""
REPEATS = "repeats"
"""Folder beside a model with those of the same training with other seeds, `<seed>.safetensors`."""
CONTROL = "control"
"""`control/dense` may stand there, too: the dense model, trained on."""


def trained(which: str) -> str:
    """The name of the trained model that a percent, `baseline` or a control stands for."""
    return f"finetune/{which}" if which.isdecimal() else which


def stage(run: Callable[[Params], None]) -> None:
    """Run a stage script: errors made for people are printed without a traceback, and Ctrl-C says how to go on."""
    begin()
    try:
        params = load_params()
        limit_megapixels(params.data.max_megapixels)
        with or_advice():
            run(params)
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.exit_code)
    except YoloslimError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        if not (said := sentence(error)):
            raise
        sys.exit(f"error: {said}")
    except KeyboardInterrupt:
        print(
            "stopped; a training goes on from its last checkpoint when the same command is given again", file=sys.stderr
        )
        sys.exit(128 + signal.SIGINT)
    finally:
        gc.freeze()  # the process ends: no use looking through all of PyTorch's objects for garbage once more


def begin() -> None:
    """What every process of a stage starts with: how it prints, and Python's garbage collector."""
    gc.freeze()  # what is imported stays, and PyTorch is a million objects that each search would look through
    gc.enable()  # `pipeline` leaves it off while it imports
    write_anything()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    hush()


def stage_of_model(run: Callable[[Params, str], None], about: str | None, help: str) -> None:
    """Run a stage script that is told by `--which` what it works on."""
    which = _argument("which", str, about, help)
    stage(lambda params: run(params, which))


def stage_of_percent(run: Callable[[Params, int], None], about: str | None, help: str) -> None:
    """Run a stage script that is told a `--percent`."""
    percent = _argument("percent", int, about, help)
    stage(lambda params: run(params, percent))


def _argument(name: str, kind: Callable[[str], T], about: str | None, help: str) -> T:
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(f"--{name}", type=kind, required=True, help=help)
    return getattr(parser.parse_args(), name)  # type: ignore[no-any-return]


def is_forced() -> bool:
    """Whether `dvc repro --force` (or `dvc exp run -f`) runs this stage.

    DVC tells its stages nothing about --force, so this reads the command lines of the processes above.
    """
    for process in psutil.Process().parents():
        with suppress(psutil.Error):
            words = process.cmdline()
            if any(re.search(r"(^|[\\/])dvc(\.exe|[\\/]__main__\.py)?$", word) for word in words[:3]) and {
                "repro",
                "run",
            } & set(words):
                return any(word == "--force" or re.fullmatch(r"-[a-zA-Z]*f[a-zA-Z]*", word) for word in words)
    return False


def timing_threads(params: Params) -> int:
    """CPU threads that latency is measured with: `evaluation.threads`, but no more than there are cores."""
    return at_most_cores(params.evaluation.threads, "evaluation.threads")


def rounded(value: Any) -> Any:
    """Floats to six digits after the point, in nested dictionaries too."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return round(value, 6) if isinstance(value, float) else value
