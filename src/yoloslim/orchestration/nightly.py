"""The sweep that a schedule starts (`flows.schedule`).

A run that finds data, code and params as the last sweep left them does nothing and says so.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.states import Completed, State

from yoloslim.config import Params, load_params
from yoloslim.data.source_state import is_as_seen, is_outside
from yoloslim.errors import SweepError
from yoloslim.orchestration.mending import mend
from yoloslim.orchestration.points import environment
from yoloslim.orchestration.process import without_blanks
from yoloslim.orchestration.shown import run_name, words_of
from yoloslim.orchestration.sweep_flow import sweep
from yoloslim.results.sweep_file import load_sweep
from yoloslim.stages.track import sync_or_say

SHOWN = 5
"""Changed stages that are named."""


@flow(name="nightly", flow_run_name=lambda: run_name("nightly"))
def nightly(remote: bool = False) -> State[Any]:
    """Sweep in the current folder if anything changed, and let a better model be the champion.

    Args:
        remote: take results from DVC's remote before, and give it the new ones after, as a fresh clone must.
    """
    params, say = load_params(), get_run_logger().info
    mend(Path())
    if remote:
        _dvc("pull", "--run-cache", "--allow-missing")
    if is_outside(params.data) and not is_as_seen(params.data):
        say("the source of the data changed: stage data reads it again")
        _dvc("--wait-for-lock", "repro", "--single-item", "--force", "data")
    reason = what_changed(params)
    if not reason:
        last = load_sweep(Path())
        message = f"nothing changed: same data, code and params; {last.why if last else ''}"
        say(message)
        sync_or_say(params)  # what a tracking server that was away lacks; nothing as a rule
        return Completed(name="Unchanged", message=message)
    say(f"{reason}: sweeping")
    tell = without_blanks(say)
    # lines of the stages are in the sweep's own log
    result = sweep(params, lambda event: tell("" if event.kind == "line" else words_of(event)))
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


def _dvc(*words: str) -> str:
    """Run DVC here; what it printed.

    Raises:
        SweepError: it failed; the message holds what it said.
    """
    command = [sys.executable, "-m", "dvc", *words]
    done = subprocess.run(
        command, env=environment(), capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        raise SweepError(f"`dvc {' '.join(words)}` failed: {done.stderr.strip()}")
    return done.stdout
