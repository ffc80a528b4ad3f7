"""Fan-out overhead: what a point of a sweep costs beyond the stage's own work, by threads and by Dask.

Points of the stand-in pipeline sleep for a known time; what is over is the start of DVC, git, Prefect and the workers.
The time of the fan-out itself is taken, after the runner has started: a sweep starts it once.
"""

import argparse
import json
import logging
import os
import tempfile
import time
from pathlib import Path

from yoloslim.config.sweep import Runner

WORKERS, WORK_S = 2, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=8)
    parser.add_argument("--runners", nargs="*", default=["threads", "dask"], choices=["threads", "dask", "ray"])
    arguments = parser.parse_args()
    os.environ |= {"PREFECT_LOGGING_LEVEL": "ERROR", "DVC_NO_ANALYTICS": "1", "CUDA_VISIBLE_DEVICES": ""}
    logging.disable(logging.WARNING)
    print("| runner | points | wall, s | stages' own work, s | overhead a point, s | owed |\n|---|---|---|---|---|---|")
    for runner in arguments.runners:
        wall, overhead = measure(runner, arguments.points)
        own = WORK_S * arguments.points / WORKERS
        owed = "< 5" if runner == "threads" else "< 10"
        print(f"| {runner} | {arguments.points} | {wall:.1f} | {own:.1f} | {overhead:.2f} | {owed} |", flush=True)


def measure(runner: Runner, points: int) -> tuple[float, float]:
    """Wall time of the fan-out, and what of it a point takes of a worker beyond its stage, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PREFECT_HOME"] = str(Path(folder) / "prefect")
        wall = run(Path(folder), runner, points)
    return wall, wall * WORKERS / points - WORK_S


def run(folder: Path, runner: Runner, points: int) -> float:
    from prefect import flow
    from tests.orchestration.toy import Toy

    from yoloslim.orchestration.points import Job
    from yoloslim.orchestration.runners import fan_out_by, task_runner
    from yoloslim.orchestration.server import prefect_server

    (folder / "toy").mkdir()
    toy = Toy(folder / "toy", workers=WORKERS)
    os.environ |= {name: toy.environment[name] for name in ("PATH", "PYTHONPATH")}
    toy.run("dvc", "repro", "--quiet", "sparse")
    first, jobs = [Job("probe", 1), Job("probe", 2)], [Job("probe", percent) for percent in range(10, 10 + points)]
    ignored = toy.root / ".gitignore"
    ignored.write_text(ignored.read_text().replace("slow.json\n", ""))  # workers must have it too
    toy.write("slow.json", {f"probe@{job.percent}": WORK_S for job in jobs})
    params = (toy.root / "params.yaml").read_text()
    listed = json.dumps([job.percent for job in (*first, *jobs)])
    (toy.root / "params.yaml").write_text(params.replace("probes: []", f"probes: {listed}"))
    wall = 0.0

    @flow(name="fanout", task_runner=task_runner(runner, "", WORKERS))
    def fanout() -> None:
        nonlocal wall
        fan_out = fan_out_by(runner)
        list(fan_out(first, toy.root))  # workers make their checkouts
        start = time.perf_counter()
        errors = [outcome.error for outcome in fan_out(jobs, toy.root)]
        wall = time.perf_counter() - start
        assert errors == [""] * len(jobs), errors

    with prefect_server():
        fanout()
    return wall


if __name__ == "__main__":
    main()
