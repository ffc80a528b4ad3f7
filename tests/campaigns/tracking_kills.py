"""Kill tracking while it makes its database, and see whether the next call works: 100 aimed kills, on demand.

    python -m tests.campaigns.tracking_kills --kills 100

Two victims: the command that people type (`python -m pipeline.track`), and a training whose live curves make the
database in a thread, which ends by itself or is interrupted. Each kill comes at a random moment after the first file of
the database appears. Then the command is typed again, and nothing else: it has to log the results and to say nothing
about a database that cannot be used. Ends with exit code 1 if a store was poisoned. Victims are processes of their own;
the command after them runs in a fork that has PyTorch and MLflow imported already, since that is half of its time.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.campaigns import harness
from tests.results.made import epochs, measured, put
from yoloslim.tracking.connection import SETTINGS

HERE = Path(__file__).parents[2]
TRACK = ["python", "-m", "pipeline.track"]
LIVE = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from yoloslim.stages.follow import follow
from yoloslim.config import load_params
with follow(load_params(), "baseline", "k1") as curves:
    for epoch in range(3):
        row = {"epoch": epoch + 1, "loss": 1.0 / (epoch + 1)}
        curves.after_epoch(SimpleNamespace(epoch=epoch, epochs=9, history=[row]))
    for _ in range(6000):
        if list(Path().glob("*mlflow.db*")):
            break
        time.sleep(0.01)
    time.sleep(float(sys.argv[1]))
"""
WAYS = ("kill group", "kill", "terminate", "interrupt", "interrupt twice", "live: interrupt twice", "live: it ends")
BAD = ("cannot be used", "duplicate column", "already exists", "Traceback", "cannot be made", "left half made")
MAKING_S = 5.0
"""How long making the database takes at most, from its first file on: kills come within this time."""


def project(folder: Path) -> Path:
    """Results of one stage, and params.yaml: all that `track` reads."""
    put(folder / "metrics/baseline.json", measured(0.8, 2.0, "pytorch-cpu", 100))
    epochs(folder / "plots/baseline/epochs.csv", 0.8)
    put(folder / "models/baseline/history.json", {"training": "k1"})  # joins the live run and the one that is logged
    shutil.copy(HERE / "params.yaml", folder)
    return folder


def kill(root: Path, way: str, rng: random.Random) -> tuple[str, int]:
    """Start a victim, wait for the first file of its database, kill it.

    Returns:
        What was there at that moment, and the victim's exit code, negative for a signal.
    """
    delay = rng.uniform(0, MAKING_S)
    stays = delay if way == "live: it ends" else 60
    command = [sys.executable, "-c", LIVE, f"{stays:.2f}"] if way.startswith("live") else [sys.executable, *TRACK[1:]]
    victim = subprocess.Popen(
        command,
        cwd=root,
        env=harness.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    deadline = time.monotonic() + 900
    while not (began := bool(list(root.glob("*mlflow.db*")))) and victim.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    if way != "live: it ends":
        time.sleep(delay)
    state = "made" if (root / "mlflow.db").exists() else "in the making"
    with contextlib.suppress(ProcessLookupError):
        if way == "kill group":
            os.killpg(victim.pid, signal.SIGKILL)
        elif way in ("kill", "terminate"):
            victim.send_signal(signal.SIGKILL if way == "kill" else signal.SIGTERM)
        elif way.endswith(("interrupt", "interrupt twice")):
            os.killpg(victim.pid, signal.SIGINT)
            if way.endswith("twice"):
                time.sleep(rng.uniform(0, 0.3))
                os.killpg(victim.pid, signal.SIGINT)
    said, _ = victim.communicate(timeout=120)
    if not began:
        raise SystemExit(f"the victim of '{way}' made no database, so nothing was tried:\n{said.decode()}")
    return state, victim.returncode


def prepare() -> None:
    """What forks find: imports, no tracking address but that of params.yaml, and an ear for Ctrl-C in victims."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ.update(SETTINGS)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
    harness.warm()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    import yoloslim.report.pictures
    import yoloslim.stages.track  # noqa: F401


def poisoned(root: Path) -> str:
    """Type the command again; what is wrong afterwards, or nothing."""
    code, said, *_ = harness.run_forked(TRACK, root, wall_s=600)
    if code or any(word in said for word in BAD):
        return said.strip()[-600:]
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as connection:
        query = "SELECT count(*) FROM runs WHERE status = 'FINISHED' AND lifecycle_stage = 'active' AND name = ?"
        (runs,) = connection.execute(query, ("baseline",)).fetchone()
    left = [path.name for path in root.glob(".mlflow.db*")]
    return "" if runs == 1 else f"{runs} finished runs where there should be 1; left: {left}"


def main() -> None:
    """Kill as often as asked, tell the count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    arguments = parser.parse_args()
    prepare()
    rng, states, bad = random.Random(arguments.seed), Counter[str](), 0
    with tempfile.TemporaryDirectory(prefix="tracking-kills-") as folder:
        for number in range(arguments.kills):
            root, way = project(Path(folder) / str(number)), arguments.ways[number % len(arguments.ways)]
            state, code = kill(root, way, rng)
            states[state] += 1
            problem = poisoned(root)
            bad += bool(problem)
            said = f"poisoned it: {problem}" if problem else "did no harm"
            print(f"kill {number} ({way}, database {state}, exit code {code}) {said}", flush=True)
            shutil.rmtree(root)
    print(f"{bad} of {arguments.kills} kills poisoned the store; when they came, it was {dict(states)}")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
