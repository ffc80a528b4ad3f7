"""Kills over whole pipelines from nothing: `python -m tests.campaigns.kills FOLDER [--kills 100]`.

In FOLDER an undisturbed run of a tiny pipeline (`dvc repro`, then the sync with MLflow: what `make repro` does) leaves
the hashes of its models. Then pipelines with the same seeds are started from nothing, killed at random moments in every
way of `processes.WAYS`, and started again by the same command, until they are done; and so on with the next until
there have been so many kills. One JSON line a kill or end goes to FOLDER/progress.jsonl, so an interrupted campaign
goes on where it was; FOLDER/code is a copy of the code that it began with, so edits meanwhile do not matter.

Printed at the end, all 0 if nothing broke:
lost      stages that DVC had recorded as done before a kill and that ran again after it
unequal   models whose bytes differ from the undisturbed run's
untracked pipelines that MLflow has not all runs of at the end
manual    restarts that failed by themselves, so that a person would have had to do something
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from tests.campaigns.processes import WAYS, Running, adopt_orphans
from tests.project import ROOT, Project

CHANGES: dict[str, Any] = {
    "baseline": {"epochs": 2},
    "sparse": {"epochs": 2},
    "finetune": {"epochs": 2, "distill": "sparse"},
    "export": {"formats": []},
    "quantize": {"models": [40], "runtimes": ["onnxruntime"], "images": 4},
}
COMMANDS = (["dvc", "repro"], ["python", "-m", "pipeline.track"])
"""What `make repro` runs, one after the other."""
WAIT_S = (0.3, 10.0)
"""When after a start the kill comes, chosen evenly."""
MODELS = ("*.safetensors", "*.onnx")


class Campaign:
    """Its folder, what has happened, and a clean copy of the project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.progress = folder / "progress.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "code").is_dir():
            shutil.rmtree(folder / "code.tmp", ignore_errors=True)
            (folder / "code.tmp").mkdir()
            Project(folder / "code.tmp", CHANGES)
            (folder / "code.tmp").rename(folder / "code")
            self.say(kind="begin", commit=commit())

    def say(self, **facts: Any) -> None:
        """Note an event."""
        with self.progress.open("a") as stream:
            stream.write(json.dumps(facts) + "\n")

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What was noted so far."""
        lines = self.progress.read_text().splitlines() if self.progress.is_file() else []
        return [event for event in map(json.loads, lines) if event["kind"] == kind]

    def environment(self, project: Path) -> dict[str, str]:
        """That of a person in the project's folder."""
        return os.environ | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONPATH": str(project / "src"),
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "PREFECT_HOME": str(project / ".prefect"),
        }

    def fresh(self, name: str) -> Path:
        """A project from nothing."""
        project = self.folder / name
        shutil.rmtree(project, ignore_errors=True)
        shutil.copytree(self.folder / "code", project, symlinks=True)
        return project

    def start(self, project: Path, command: list[str]) -> Running:
        """A command, once more."""
        return Running(command, project, self.environment(project), project.with_name(f"{project.name}.log"))

    def reference(self) -> dict[str, str]:
        """Hashes of the undisturbed run, made on the first call."""
        path = self.folder / "reference.json"
        if not path.is_file():
            project = self.fresh("reference")
            for command in COMMANDS:
                code = self.start(project, command).process.wait()
                assert code == 0, project.with_name("reference.log").read_text()[-3000:]
            assert tracked(project)
            path.write_text(json.dumps(hashes(project), indent=2))
        return dict(json.loads(path.read_text()))

    def disturb(self, number: int, kills: int) -> int:
        """One pipeline from nothing to its end, killed until it is done; returns how often, at most `kills` times."""
        reference, rng = self.reference(), random.Random(f"{number}/{len(self.events('kill'))}")
        project, done, failed = self.fresh(f"pipeline-{number}"), 0, 0
        finished: set[str] = set()
        todo = list(COMMANDS)
        while todo and failed < 3:
            log = project.with_name(f"{project.name}.log")
            said = log.stat().st_size if log.is_file() else 0
            running = self.start(project, todo[0])
            killed, code = False, running.wait(rng.uniform(*WAIT_S)) if done < kills else None
            if done < kills and code is None:
                way = WAYS[(len(self.events("kill"))) % len(WAYS)]
                victim, killed = running.kill(way, rng), True
                done += 1
                ended = running.end()
                self.say(kind="kill", pipeline=number, way=str(way), victim=victim, ended=ended, done=len(finished))
            code = running.process.wait()
            output = log.read_bytes()[said:].decode(errors="replace")
            again = finished & set(re.findall(r"Running stage '([^']+)'", output))
            if again:
                self.say(kind="lost", pipeline=number, stages=sorted(again))
            finished |= recorded(project)
            if not killed and code:
                failed += 1
                self.say(kind="manual", pipeline=number, code=code, output=output[-1500:])
            if code == 0:
                todo.pop(0)
        found = hashes(project)
        unequal = sorted(name for name in found.keys() | reference.keys() if found.get(name) != reference.get(name))
        leftovers = sorted(
            str(path.relative_to(project)) for path in project.rglob("*.tmp*") if ".dvc/" not in str(path)
        )
        facts = {"unequal": unequal, "tracked": tracked(project), "leftovers": leftovers}
        self.say(kind="end", pipeline=number, kills=done, failed=failed, **facts)
        if not unequal and not failed and facts["tracked"]:
            shutil.rmtree(project)
        return done


def commit() -> str:
    """The commit that the working tree is at, with a + if it has changes."""
    name = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True)
    return name.stdout.strip()


def recorded(project: Path) -> set[str]:
    """Stages that DVC knows to be done."""
    with contextlib.suppress(FileNotFoundError):
        return set((yaml.safe_load((project / "dvc.lock").read_text()) or {}).get("stages", {}))
    return set()


def hashes(project: Path) -> dict[str, str]:
    """SHA-256 by name of every model and graph."""
    files = [path for pattern in MODELS for path in (project / "models").rglob(pattern)]
    return {str(path.relative_to(project)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def tracked(project: Path) -> bool:
    """Whether MLflow has the baseline's and the percent's run, both finished."""
    try:
        with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as store:
            rows = store.execute("select status from runs where lifecycle_stage = 'active'").fetchall()
    except sqlite3.Error:
        return False
    return len(rows) >= 2 and all(status == "FINISHED" for (status,) in rows)


def summary(campaign: Campaign) -> str:
    """The figures, as Markdown."""
    kills, ends = campaign.events("kill"), campaign.events("end")
    ways = Counter(kill["way"] for kill in kills)
    lines = [
        f"commit {campaign.events('begin')[0]['commit']}: {len(kills)} kills over {len(ends)} pipelines",
        f"lost {sum(len(event['stages']) for event in campaign.events('lost'))}",
        f"unequal {sum(len(event['unequal']) for event in ends)} of {len(ends) * len(campaign.reference())} models",
        f"untracked {sum(not event['tracked'] for event in ends)}",
        f"manual {len(campaign.events('manual'))}",
        f"did not end within {180} s of the signal: {sum(not kill['ended'] for kill in kills)}",
        "ways: " + ", ".join(f"{way} {count}" for way, count in sorted(ways.items())),
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the campaign, or go on with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--a-pipeline", type=int, default=12, help="kills of one pipeline at most, then it may end")
    options = parser.parse_args()
    adopt_orphans()
    campaign = Campaign(options.folder.resolve())
    campaign.reference()
    while (left := options.kills - len(campaign.events("kill"))) > 0:
        begun = time.monotonic()
        number = len(campaign.events("end"))
        done = campaign.disturb(number, min(left, options.a_pipeline))
        print(f"pipeline {number}: {done} kills, {time.monotonic() - begun:.0f} s", flush=True)
    print(summary(campaign))
    bad = campaign.events("lost") + campaign.events("manual")
    sys.exit(bool(bad) or any(event["unequal"] or not event["tracked"] for event in campaign.events("end")))


if __name__ == "__main__":
    main()
