"""The sweep that a schedule starts (`flows.schedule`).

A run that finds data, code and params as the last sweep left them does nothing and says so.
"""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.states import Completed, State

from yoloslim.config import Params, load_params
from yoloslim.errors import SweepError
from yoloslim.files import read_json, write_json
from yoloslim.orchestration.points import environment
from yoloslim.orchestration.sweep_flow import sweep
from yoloslim.results.sweep_file import load_sweep
from yoloslim.stages.track import sync_or_say

SEEN = Path(".cache") / "sweep" / "source.json"
"""What the data's source looked like when stage `data` last read it, since DVC does not look outside the project."""
SHOWN = 5
"""Changed stages that are named."""


@flow(name="nightly")
def nightly(remote: bool = False) -> State[Any]:
    """Sweep in the current folder if anything changed, and let a better model be the champion.

    Args:
        remote: take results from DVC's remote before, and give it the new ones after, as a fresh clone must.
    """
    params, say = load_params(), get_run_logger().info
    if remote:
        _dvc("pull", "--run-cache", "--allow-missing")
    source = look_at(params)
    if source and source != (read_json(SEEN) if SEEN.is_file() else ""):
        say("the source of the data changed: stage data reads it again")
        _dvc("--wait-for-lock", "repro", "--single-item", "--force", "data")
        write_json(SEEN, source)
    reason = what_changed(params)
    if not reason:
        last = load_sweep(Path())
        message = f"nothing changed: same data, code and params; {last.why if last else ''}"
        say(message)
        sync_or_say(params)  # what a tracking server that was away lacks; nothing as a rule
        return Completed(name="Unchanged", message=message)
    say(f"{reason}: sweeping")
    result = sweep(params, lambda event: say(f"{event.kind}: {event.job.name if event.job else ''} {event.text}"))
    if remote:
        _dvc("push", "--run-cache")
    return Completed(message=result.why)


def what_changed(params: Params) -> str:
    """Why a sweep is due; empty if the last one still holds.

    DVC is asked about data, code and params of the stages, and the last result about what the sweep was to find.
    """
    last, wanted = load_sweep(Path()), params.sweep
    if last is None:
        return "there was no sweep yet"
    axes = {"percent": (wanted.low, wanted.high, wanted.step), **wanted.axes}
    if (last.objective, last.constraints, last.axes) != (wanted.objective, wanted.constraints, axes):
        return "section sweep of params.yaml changed"
    _dvc("--wait-for-lock", "repro", "--single-item", "code")
    stale = sorted(set(json.loads(_dvc("status", "--json") or "{}")) - {"code"})  # which is always due
    more = " ..." if len(stale) > SHOWN else ""
    return f"changed: {', '.join(stale[:SHOWN])}{more}" if stale else ""


def look_at(params: Params) -> str:
    """Names, sizes and times of the files that stage data reads from outside, as a hash; empty if it reads none.

    Raises:
        SweepError: they cannot be looked at.
    """
    if params.data.source != "voc":
        return ""
    path = Path(params.data.path)
    try:
        files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
        facts = [(str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError as error:
        raise SweepError(f"cannot look at data.path {path}: {error.strerror}") from error
    return sha256(json.dumps(facts).encode()).hexdigest()


def _dvc(*words: str) -> str:
    """Run DVC here; what it printed.

    Raises:
        SweepError: it failed; the message holds what it said.
    """
    command = [sys.executable, "-m", "dvc", *words]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SweepError(f"`dvc {' '.join(words)}` failed: {done.stderr.strip()}")
    return done.stdout
