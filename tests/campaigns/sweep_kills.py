"""Kills over sweeps: `python -m tests.campaigns.sweep_kills FOLDER [--kills 25]`; SWEEP_RUNNER=dask for Dask.

`yoloslim sweep` over the real graph of stages, which a stand-in fills with made-up numbers in milliseconds. Besides the
ways that pipelines are killed in, the kills meet Prefect's server and, with Dask, its scheduler and workers. Printed as
by `tests.campaigns.kills`: `unequal` compares winner, points and measured numbers.
"""

import json
import os
import shutil
import signal
from pathlib import Path

from tests.campaigns.campaign import Campaign, main
from tests.campaigns.processes import WAYS, Way
from tests.orchestration.toy import Toy
from tests.project import ROOT

RUNNER = os.environ.get("SWEEP_RUNNER", "threads")
SERVERS = {"threads": ("prefect.server|uvicorn",), "dask": ("spawn_main|nanny|distributed", "prefect.server|uvicorn")}
AIMED = tuple(
    Way(whom, (number,))
    for whom in SERVERS[RUNNER]
    for number in (signal.SIGKILL, signal.SIGTERM)
    for _ in range(2 if RUNNER == "dask" else 1)
)


class Sweeps(Campaign):
    """Sweeps for the percent to ship."""

    commands = (["yoloslim", "sweep"],)
    wait_s = (2.0, 35.0)
    ways = tuple(way for pair in zip(AIMED * 6, WAYS, strict=False) for way in pair)

    def build(self, project: Path) -> None:
        """See `Campaign.build`."""
        Toy(project, runner=RUNNER, workers=2)
        with (project / ".gitignore").open("a") as stream:
            stream.write("/src/\n/pipeline/\n/flows/\n")
        for name in ("src/yoloslim", "pipeline", "flows"):
            shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))

    def results(self, project: Path) -> dict[str, str]:
        """The sweep's result without its times."""
        path = project / "metrics/sweep.json"
        found = json.loads(path.read_text()) if path.is_file() else {}
        points = {f"point {each['percent']}": json.dumps(each, sort_keys=True) for each in found.get("points", ())}
        wanted = {name: json.dumps(found.get(name), sort_keys=True) for name in ("winner", "cliff", "front", "why")}
        return wanted | {name: _without_times(text) for name, text in points.items()}

    def ran(self, project: Path, output: str) -> set[str]:
        """Stages that began since the last look."""
        log, seen = project / "ran.log", project / ".seen"
        lines = log.read_text().splitlines() if log.is_file() else []
        before = int(seen.read_text()) if seen.is_file() else 0
        seen.write_text(str(len(lines)))
        return {line.removesuffix("@-") for line in lines[before:]}


def _without_times(text: str) -> str:
    point = json.loads(text)
    return json.dumps({name: value for name, value in point.items() if "seconds" not in name and name != "minutes"})


if __name__ == "__main__":
    main(Sweeps, 25, 6, __doc__)
