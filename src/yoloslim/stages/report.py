"""Stage `report`: tables and pictures that put baseline, sparse and every percent side by side."""

from pathlib import Path

from yoloslim.config import Params
from yoloslim.files import write_json
from yoloslim.stages.common import DATA, stage
from yoloslim.stages.track import sync_or_say
from yoloslim.tracking.report import write_report

REPORT = Path("report")


def run(params: Params) -> None:
    """Write report/ and bring MLflow in line."""
    r = params.report
    result = write_report(Path(), REPORT, params.model_dump(mode="json"), **r.model_dump(), data=DATA)
    write_json(REPORT / "summary.json", result.summary())
    sync_or_say(params)


def main() -> None:
    """Run the stage."""
    stage(run)
