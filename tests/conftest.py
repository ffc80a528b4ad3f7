"""One thread for all tests: the networks here are too small for more, and others share the machine."""

import gc
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import settings

with suppress(ModuleNotFoundError):  # not installed with every set of extras
    from absl.logging import get_absl_handler

    # LiteRT's converter imports it; its handler closes the stream it was made with when logging is configured anew
    # (by DVC's GTO, Prefect, ...), and that stream would be pytest's.
    get_absl_handler().python_handler.stream = sys.__stderr__

from yoloslim.orchestration import leaving

gc.disable()  # the imports of tests leave no garbage; `pytest_collection_finish` switches it on again
for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(name, None)  # what Rich and Typer ask for a terminal's width and colours, before they are imported
for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
    os.environ.pop(name, None)  # places of the person who starts the tests: hooks of Git set the last

# the same every time in continuous integration; with the variable it goes on looking for others
settings.register_profile("same", derandomize="FUZZ_EXAMPLES" not in os.environ)
settings.load_profile("same")
torch.set_num_threads(1)
pytest.MonkeyPatch().setattr(leaving, "_leave", lambda status: None)  # it ends the process, which here goes on

LONGEST = (
    "stages/test_pipeline.py",
    "orchestration/test_typed.py",
    "orchestration/test_schedule.py",
    "test_every_model.py",
    "orchestration/test_sweep_flow.py",
    "test_page_commands.py",
    "test_containers.py",
    "tracking/test_postgres.py",
    "orchestration/test_runners.py",
    "benchmarks/test_experiment.py",
    "campaigns/test_bad_inputs.py",
    "orchestration/test_shown.py",
    "campaigns/test_database_damage.py",
    "test_project.py",
    "stages/test_resume.py",
    "benchmarks/test_race.py",
)
"""Files whose slow tests take half a minute and more, the longest first: begun last, one of them would run alone."""


@pytest.fixture(autouse=True)
def afresh() -> None:
    """The same random numbers, and one thread, whichever tests this process has run before."""
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Let `caplog` hear yoloslim whatever Prefect, Ray or MLflow, set up in this process, did to other handlers."""
    call_handlers = logging.Logger.callHandlers

    def call_handlers_and_ours(logger: logging.Logger, record: logging.LogRecord) -> None:
        call_handlers(logger, record)
        if logger.name.partition(".")[0] == "yoloslim" and record not in caplog.handler.records:
            caplog.handler.emit(record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.Logger, "callHandlers", call_handlers_and_ours)
        yield


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Of the slow tests alone, do not even import files that hold none."""
    if config.option.markexpr != "slow" or not re.fullmatch(r"test_\w+\.py", collection_path.name):
        return None
    return "mark.slow" not in collection_path.read_text() or None


def pytest_collection_finish() -> None:
    """Look for garbage again, and not among what was imported, a million objects that stay."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Longest files first; `make test` tells xdist to keep this order."""
    rank = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
