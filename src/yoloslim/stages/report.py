"""Stage `report`: tables and pictures that put baseline, sparse and every percent side by side."""

from pathlib import Path

from yoloslim.config import Params
from yoloslim.files import write_json
from yoloslim.report.write import write_report
from yoloslim.results.results import read_results
from yoloslim.stages.common import DATA, stage
from yoloslim.stages.track import sync_or_say

REPORT = Path("report")


def run(params: Params) -> None:
    """Write report/ and bring MLflow in line."""
    results = read_results(Path(), params.model_dump(mode="json"))
    report = write_report(results, REPORT, **params.report.model_dump(), data=DATA)
    write_json(REPORT / "summary.json", report.summary())
    sync_or_say(params, results)


def main() -> None:
    """Run the stage."""
    stage(run)
