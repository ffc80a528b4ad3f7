"""A campaign of kills: something is started from nothing again and again, killed at random, and must come out the same.

In the campaign's folder an undisturbed run leaves what should come out. Then runs with the same seeds are killed at
random moments in every way there is, and started again by the same command, until they are done; and so on with the
next until there have been enough kills. One JSON line an event goes to progress.jsonl, so an interrupted campaign goes
on where it was; `code` is a copy of the code that it began with, so edits meanwhile do not matter.
"""

import abc
import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml

from tests.campaigns.processes import GO_ON_S, GRACE_S, WAYS, Running, Way, adopt_orphans
from tests.project import ROOT

MAX_FAILED = 3
"""Restarts of one run that may fail before it is given up."""


class Campaign(abc.ABC):
    """What is killed, and what should come out of it."""

    commands: ClassVar[tuple[list[str], ...]]
    """What a person types, one after the other."""
    wait_s: ClassVar[tuple[float, float]] = (0.3, 10.0)
    """When after a start the kill comes, chosen evenly."""
    ways: Sequence[Way] = WAYS

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.progress = folder / "progress.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "code").is_dir():
            shutil.rmtree(folder / "code.tmp", ignore_errors=True)
            (folder / "code.tmp").mkdir()
            self.build(folder / "code.tmp")
            (folder / "code.tmp").rename(folder / "code")
            self.say(kind="begin", commit=commit())

    @abc.abstractmethod
    def build(self, project: Path) -> None:
        """Write a project in which nothing has run yet."""

    @abc.abstractmethod
    def results(self, project: Path) -> dict[str, str]:
        """What must be equal, by name."""

    def complete(self, project: Path) -> bool:
        """Whether all else that belongs to a finished run is there."""
        return True

    def finished(self, project: Path) -> set[str]:
        """Steps that are done, as the project itself records them."""
        with contextlib.suppress(FileNotFoundError, AttributeError, yaml.YAMLError):
            return set(yaml.safe_load((project / "dvc.lock").read_text()).get("stages", {}))
        return set()

    @abc.abstractmethod
    def ran(self, project: Path, output: str) -> set[str]:
        """Steps that the last start ran, from what it said or left."""

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
            "PYTHONPATH": os.pathsep.join([str(project / "src"), str(project)]),
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

    def prepare(self, project: Path) -> None:  # noqa: B027  (most need nothing)
        """What is done before every start."""

    def close(self) -> None:  # noqa: B027
        """What is done when the campaign ends."""

    def start(self, project: Path, command: list[str]) -> Running:
        """A command, once more."""
        self.prepare(project)
        return Running(command, project, self.environment(project), project.with_name(f"{project.name}.log"))

    def reference(self) -> dict[str, str]:
        """What the undisturbed run gives; made on the first call."""
        path = self.folder / "reference.json"
        if not path.is_file():
            project = self.fresh("reference")
            for command in self.commands:
                code = self.start(project, command).process.wait()
                assert code == 0, project.with_name("reference.log").read_text()[-3000:]
            assert self.complete(project)
            path.write_text(json.dumps(self.results(project), indent=2))
        return dict(json.loads(path.read_text()))

    def disturb(self, number: int, kills: int) -> int:
        """One run from nothing to its end, killed until it is done; returns how often, at most `kills` times."""
        reference, rng = self.reference(), random.Random(f"{number}/{len(self.events('kill'))}")
        project, done, failed = self.fresh(f"run-{number}"), 0, 0
        log = project.with_name(f"{project.name}.log")
        log.unlink(missing_ok=True)
        todo, finished = list(self.commands), set[str]()
        while todo and failed < MAX_FAILED:
            said = log.stat().st_size if log.is_file() else 0
            running = self.start(project, todo[0])
            killed, goes_on = 0, True
            while goes_on and done + killed < kills:
                way = self.ways[len(self.events("kill")) % len(self.ways)]
                if running.wait_for(way, rng.uniform(*self.wait_s)) is not None:
                    break
                victim, goes_on = running.kill(way, rng), bool(way.pattern)
                killed += 1
                self.say(kind="kill", run=number, way=str(way), victim=victim, done=len(finished))
            done += killed
            if killed and not running.end(GRACE_S if way.whom in ("group", "parent") else GO_ON_S):
                self.say(kind="slow", run=number)
            code = running.process.wait()
            output = log.read_bytes()[said:].decode(errors="replace")
            if again := finished & self.ran(project, output):
                self.say(kind="lost", run=number, steps=sorted(again))
            finished |= self.finished(project)
            if code == 0:
                todo.pop(0)
            elif not killed:
                failed += 1
                self.say(kind="manual", run=number, code=code, output=output[-1500:])
        found = self.results(project)
        unequal = sorted(name for name in found.keys() | reference.keys() if found.get(name) != reference.get(name))
        complete = self.complete(project)
        self.say(kind="end", run=number, kills=done, failed=failed, unequal=unequal, complete=complete)
        if complete and not unequal and not failed:
            shutil.rmtree(project)
        return done

    def summary(self) -> str:
        """The figures, as Markdown."""
        kills, ends = self.events("kill"), self.events("end")
        ways = Counter(kill["way"] for kill in kills)
        lines = [
            f"commit {self.events('begin')[0]['commit']}: {len(kills)} kills over {len(ends)} runs",
            f"lost {sum(len(event['steps']) for event in self.events('lost'))}",
            f"unequal {sum(len(event['unequal']) for event in ends)} of {len(ends) * len(self.reference())}",
            f"incomplete {sum(not event['complete'] for event in ends)}",
            f"manual {len(self.events('manual'))}",
            f"had not ended {GRACE_S:.0f} s after the signal, {GO_ON_S:.0f} s after one to another process: "
            f"{len(self.events('slow'))}",
            "ways: " + ", ".join(f"{way} {count}" for way, count in sorted(ways.items())),
        ]
        return "\n".join(lines)

    def went_wrong(self) -> bool:
        """Whether anything did."""
        bad = self.events("lost") + self.events("manual")
        return bool(bad) or any(end["unequal"] or not end["complete"] for end in self.events("end"))

    def run(self, kills: int, of_one: int) -> None:
        """Go on until there were so many kills."""
        self.reference()
        while (left := kills - len(self.events("kill"))) > 0:
            begun, number = time.monotonic(), len(self.events("end"))
            done = self.disturb(number, min(left, of_one))
            print(f"run {number}: {done} kills, {time.monotonic() - begun:.0f} s", flush=True)
        print(self.summary())


def commit() -> str:
    """The commit that the working tree is at, with a + if it has changes."""
    name = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True)
    return name.stdout.strip()


def main(campaign: type[Campaign], kills: int, of_one: int, about: str | None) -> None:
    """Run a campaign, or go on with it, in the folder that the command line names."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=kills)
    parser.add_argument("--of-one", type=int, default=of_one, help="kills of one run at most, then it may end")
    options = parser.parse_args()
    adopt_orphans()
    started = campaign(options.folder.resolve())
    try:
        started.run(options.kills, options.of_one)
    finally:
        started.close()
    sys.exit(started.went_wrong())
