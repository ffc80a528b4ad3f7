"""Kills over sweeps: `python -m tests.campaigns.sweep_kills FOLDER [--kills 25]`.

`yoloslim sweep` over the real graph of stages, which a stand-in fills with made-up numbers in milliseconds. Besides the
ways that pipelines are killed in, the kills meet Prefect's server and, with SWEEP_RUNNER=dask, the workers that the
sweep starts; with SWEEP_RUNNER=cluster, a scheduler and workers that run already, and are started again when they are
gone, as a cluster does. Printed as by `tests.campaigns.kills`: `unequal` compares winner, points and measured numbers.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

from tests.campaigns.campaign import Campaign, main
from tests.campaigns.processes import WAYS, Way
from tests.orchestration.toy import Toy
from tests.project import ROOT

RUNNER = os.environ.get("SWEEP_RUNNER", "threads")
SERVER = "orchestration.server"
AIMS = {
    "threads": (SERVER,),
    "dask": ("multiprocessing.spawn", SERVER),
    "cluster": ("dask_scheduler", "dask_worker", SERVER),
}[RUNNER]
AIMED = tuple(Way(whom, (number,)) for number in (signal.SIGKILL, signal.SIGTERM) for whom in AIMS)
ADDRESS = "127.0.0.1:38786"


class Sweeps(Campaign):
    """Sweeps for the percent to ship."""

    commands = (["yoloslim", "sweep"],)
    wait_s = (2.0, 45.0)
    ways = tuple(way for pair in zip(AIMED * 6, WAYS, strict=False) for way in pair)
    cluster: ClassVar[dict[str, subprocess.Popen[bytes]]] = {}
    over = threading.Event()

    def build(self, project: Path) -> None:
        """See `Campaign.build`."""
        address = f"tcp://{ADDRESS}" if RUNNER == "cluster" else ""
        Toy(project, runner="threads" if RUNNER == "threads" else "dask", workers=2, address=address)
        with (project / ".gitignore").open("a") as stream:
            stream.write("/src/\n/pipeline/\n/flows/\n")
        for name in ("src/yoloslim", "pipeline", "flows"):
            shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))

    def prepare(self, project: Path) -> None:
        """Have the cluster run, if there shall be one."""
        if RUNNER == "cluster" and not self.cluster:
            self._keep_up()
            threading.Thread(target=self._go_on, daemon=True).start()

    def close(self) -> None:
        """End the cluster."""
        self.over.set()
        for process in self.cluster.values():
            process.kill()

    def _go_on(self) -> None:
        while not self.over.wait(1):
            self._keep_up()

    def _keep_up(self) -> None:
        """Start what is gone of the cluster; its workers make checkouts of their own."""
        host, _, port = ADDRESS.partition(":")
        worker = (f"tcp://{ADDRESS}", "--nthreads", "1", "--nworkers", "1", "--no-nanny", "--no-dashboard")
        commands: dict[str, tuple[str, ...]] = {"dask_scheduler": ("--host", host, "--port", port, "--no-dashboard")}
        commands |= {f"dask_worker {n}": (*worker, "--local-directory", str(self.folder / f"spill-{n}")) for n in "12"}
        for name, words in commands.items():
            if name in self.cluster and self.cluster[name].poll() is None:
                continue
            with (self.folder / f"{name}.log").open("ab") as log:
                self.cluster[name] = subprocess.Popen(
                    [sys.executable, "-m", f"distributed.cli.{name.split()[0]}", *words],
                    cwd=self.folder,
                    env=self.environment(self.folder / "code"),
                    stdout=log,
                    stderr=log,
                )

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
    main(Sweeps, 25, 12, __doc__)
