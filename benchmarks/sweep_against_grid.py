"""The sweep against the exhaustive grid, both for real, on the embedded data set.

    python -m benchmarks.sweep_against_grid

Two clones of this repository share what all points need (data, baseline, sparse) and nothing else. One finetunes and
measures every percent of the grid, the other sweeps. Every step that is finished is kept: the same command goes on.
Time spent is added up over all runs, so that going on never makes anything look faster.
"""

import argparse
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yoloslim.config import SweepResult, load_params
from yoloslim.config.edit import set_list, set_values
from yoloslim.files import read_json, write_json
from yoloslim.orchestration.driver import run_sweep
from yoloslim.orchestration.points import SHARED, Job, reproduce, run_job
from yoloslim.orchestration.variant_run import Event, in_threads
from yoloslim.sweeping.verdict import judge

ROOT = Path(__file__).resolve().parents[1]
TINY = {
    **{"imgsz": 64, "data.imgsz": 64, "data.train_images": 24, "data.val_images": 8, "data.test_images": 8},
    **{"baseline.epochs": 1, "sparse.epochs": 1, "finetune.epochs": 1, "train.batch": 8, "ascend_eval.twin_images": 0},
    **{"prune.recalibrate_images": 24, "prune.certificate_images": 2, "ascend_eval.repeats": 3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("sweep-benchmark"), help="folder of what is finished")
    parser.add_argument("--low", type=int, default=10)
    parser.add_argument("--high", type=int, default=95)
    parser.add_argument("--step", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1, help="points side by side, in both")
    parser.add_argument("--tiny", action="store_true", help="a toy data set and one epoch: only to see that it runs")
    arguments = parser.parse_args()
    grid, sweep = (clone(arguments, name) for name in ("grid", "sweep"))
    share_upstream(grid, sweep)
    exhaustive(grid, arguments.workers)
    search(sweep, arguments.workers)
    print(table(grid, sweep))


def clone(arguments: argparse.Namespace, name: str) -> Path:
    """A clone of this repository's last commit with the parameters of the comparison."""
    folder: Path = arguments.work.resolve() / name
    if not folder.is_dir():
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        bounds = {f"sweep.{key}": getattr(arguments, key) for key in ("low", "high", "step")}
        set_values(folder / "params.yaml", bounds | {"tracking.enabled": False} | (TINY if arguments.tiny else {}))
        set_list(folder / "params.yaml", "percents", [])
    return folder


def share_upstream(grid: Path, sweep: Path) -> None:
    """Make what all points need once; the other clone starts from the same cache."""
    print("== data, baseline, sparse", flush=True)
    reproduce(SHARED, grid, "shared", print)
    if not (sweep / ".dvc" / "cache").is_dir():
        shutil.copytree(grid / ".dvc" / "cache", sweep / ".dvc" / "cache")


def exhaustive(folder: Path, workers: int) -> None:
    """Finetune and measure every percent of the grid, by the same jobs as the sweep's."""
    clock = Clock(folder)
    percents = load_params(folder / "params.yaml").sweep.percents
    for start in range(0, len(percents), workers):
        batch = percents[start : start + workers]
        if all(str(percent) in clock.done for percent in batch):
            continue
        print(f"== grid: {batch}", flush=True)
        jobs = [Job("finetune", percent) for percent in batch]
        for outcome in in_threads(workers)(jobs, folder):
            assert not outcome.error, outcome.error
        for percent in batch:
            outcome = run_job(Job("measure", percent), folder)
            assert not outcome.error, outcome.error
        clock.add(*(str(percent) for percent in batch))


def search(folder: Path, workers: int) -> None:
    """The sweep."""
    clock = Clock(folder)
    if "sweep" in clock.done:
        return

    def listen(event: Event) -> None:
        if event.text and event.kind not in ("line", "ended"):
            print(f"== sweep: {event.job.name + ': ' if event.job else ''}{event.text}", flush=True)
        if event.kind in ("measured", "ended"):
            clock.add()

    run_sweep(folder, load_params(folder / "params.yaml"), in_threads(workers), workers, listen)
    clock.add("sweep")


class Clock:
    """Seconds spent so far, and what they were spent on, in a file."""

    def __init__(self, folder: Path) -> None:
        self.path, self.last = folder.with_suffix(".json"), time.monotonic()
        known: dict[str, Any] = read_json(self.path) if self.path.is_file() else {"seconds": 0.0, "done": []}
        self.seconds, self.done = float(known["seconds"]), list(known["done"])

    def add(self, *names: str) -> None:
        """Count the time since the last call, and note what is finished."""
        now = time.monotonic()
        self.seconds, self.last = self.seconds + now - self.last, now
        self.done += names
        write_json(self.path, {"seconds": self.seconds, "done": self.done})


def table(grid: Path, sweep: Path) -> str:
    """What came out, in Markdown."""
    params = load_params(grid / "params.yaml").sweep
    measured: Callable[[int], dict[str, Any]] = lambda p: read_json(grid / "metrics" / "ascend_eval" / f"{p}.json")  # noqa: E731
    candidates = {str(percent): measured(percent) for percent in params.percents}
    verdict = judge(candidates, read_json(grid / "metrics" / "ascend_eval" / "baseline.json"), params)
    found = SweepResult.model_validate(json.loads((sweep / "metrics" / "sweep.json").read_text()))
    deployed = {point.name: point.deployed for point in found.points}
    spent = {"grid": Clock(grid).seconds, "sweep": Clock(sweep).seconds}

    def line(name: str, winner: str | None, metrics: dict[str, dict[str, Any]], cuts: int, trained: int) -> str:
        best = metrics.get(winner or "", {})
        numbers = [f"{best[key]:.3f}" if key in best else "" for key in ("map50", "params_m", "latency_ms")]
        return f"| {name} | {winner or 'none'} | {' | '.join(numbers)} | {cuts} | {trained} | {spent[name] / 60:.1f} |"

    share = found.finetunings / len(candidates)
    return "\n".join(
        [
            "| search | winner % | map50 | params M | ms | cuts measured | finetunings | minutes |",
            "|:--|--:|--:|--:|--:|--:|--:|--:|",
            line("grid", verdict.winner, candidates, 0, len(candidates)),
            line("sweep", found.winner, deployed, found.probes, found.finetunings),
            "",
            f"Same optimum: {'yes' if verdict.winner == found.winner else 'no'}. "
            f"Finetunings: {share:.2f} of the grid's; time: {spent['sweep'] / spent['grid']:.2f}. "
            f"A 1 % grid would have finetuned {found.grid_finetunings}. "
            f"Cliff before finetuning: {found.cliff}.",
        ]
    )


if __name__ == "__main__":
    main()
