"""Stage `report`: tables and pictures that put baseline, sparse and every percent side by side."""

import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from yoloslim.config import Params
from yoloslim.files import write_json
from yoloslim.report.write import write_report
from yoloslim.results.results import Results, read_results
from yoloslim.runner.headers import limit_megapixels
from yoloslim.stages.common import DATA, begin, stage
from yoloslim.stages.track import sync_or_say

REPORT = Path("report")


def run(params: Params) -> None:
    """Write report/ and, in a process beside it, bring MLflow in line, which takes as long."""
    results = read_results(Path(), params.model_dump(mode="json"))
    with ProcessPoolExecutor(1, get_context("spawn"), _begin_beside) as beside:
        tracked = beside.submit(_track, params, results)
        report = write_report(results, REPORT, **params.report.model_dump(), data=DATA)
        write_json(REPORT / "summary.json", report.summary())
        try:
            tracked.result()
        except BrokenProcessPool:  # killed, perhaps for the memory of two
            sync_or_say(params, results)


def _begin_beside() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C: the stage says it, this one just ends
    begin()


def _track(params: Params, results: Results) -> None:
    limit_megapixels(params.data.max_megapixels)
    sync_or_say(params, results)


def main() -> None:
    """Run the stage."""
    stage(run)
