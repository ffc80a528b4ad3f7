"""Stage `report`: tables and pictures that put baseline, sparse and every percent side by side."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yoloslim.config import Params
from yoloslim.files import write_json
from yoloslim.report.write import write_report
from yoloslim.results.results import read_results
from yoloslim.stages.common import DATA, stage
from yoloslim.stages.track import sync_or_say

REPORT = Path("report")


def run(params: Params) -> None:
    """Write report/ and, in a process beside it, bring MLflow in line, which takes as long."""
    with _beside(params):
        results = read_results(Path(), params.model_dump(mode="json"))
        report = write_report(results, REPORT, **params.report.model_dump(), data=DATA)
        write_json(REPORT / "summary.json", report.summary())


@contextmanager
def _beside(params: Params) -> Iterator[None]:
    """Bring MLflow in line in a process of its own for the time, which Ctrl-C at the terminal reaches through here."""
    if not params.tracking.enabled:
        yield
        return
    with subprocess.Popen([sys.executable, "-m", __name__], start_new_session=True) as process:
        try:
            yield
        except BaseException:
            process.terminate()  # a run that is not finished is made again
            raise
        ended = process.wait()
    if ended:  # killed, perhaps since memory was short with both
        sync_or_say(params)


def _track(params: Params) -> None:
    sync_or_say(params)


def main() -> None:
    """Run the stage."""
    stage(run)


if __name__ == "__main__":  # what runs beside
    stage(_track)
