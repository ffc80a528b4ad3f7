"""Overwrite MLflow's database and give the command that logs to it: `python -m tests.campaigns.database_damage`.

Pages, bytes and the end of `mlflow.db` are overwritten, zeroed, swapped or cut at random (`--damages 100 --seed 0`), in
a project whose results were logged and in one that has new results. The command then has to end well, or to say in a
sentence that the database is damaged: no traceback, no signal, no hang. Every tenth goes through a process of its own,
as a person would type it; the rest through forks.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.campaigns import harness
from tests.campaigns.tracking_kills import project
from tests.results.made import measured, put

TRACK = ("python", "-m", "pipeline.track")
PAGE = 4096
SAID = ("is damaged", "cannot be used", "cannot be opened", "is made anew", "another program's database")
"""What the command may say of it."""
CPU_S = 60.0
"""More than a sync takes; MLflow's own start is 5 s of it."""


def random_pages(content: bytearray, rng: random.Random) -> None:
    """Noise in the place of some pages."""
    for _ in range(rng.randint(1, 40)):
        start = PAGE * rng.randrange(len(content) // PAGE)
        content[start : start + PAGE] = rng.randbytes(PAGE)


def zeroed_pages(content: bytearray, rng: random.Random) -> None:
    """As after a crash of the machine."""
    start = PAGE * rng.randrange(1, len(content) // PAGE)
    count = rng.randint(1, 20)
    content[start : start + PAGE * count] = bytes(len(content[start : start + PAGE * count]))


def swapped_pages(content: bytearray, rng: random.Random) -> None:
    """Sound pages in each other's places."""
    a, b = (PAGE * rng.randrange(len(content) // PAGE) for _ in "ab")
    content[a : a + PAGE], content[b : b + PAGE] = content[b : b + PAGE], content[a : a + PAGE]


def flipped_bytes(content: bytearray, rng: random.Random) -> None:
    """A few bytes, which may be text of a row as well as SQLite's own."""
    for _ in range(rng.randint(1, 200)):
        content[rng.randrange(len(content))] = rng.randrange(256)


def changed_words(content: bytearray, rng: random.Random) -> None:
    """Rows that SQLite takes for sound, with other words than MLflow knows."""
    for word in rng.sample([b"FINISHED", b"active", b"baseline", b"yoloslim", b"file://", b"varchar", b"run_uuid"], 3):
        content[:] = content.replace(word, bytes(rng.choice(b"xyz\xff0'") for _ in word))


def cut_end(content: bytearray, rng: random.Random) -> None:
    """A file that is too short."""
    del content[rng.randrange(1, len(content)) :]


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    random_pages,
    zeroed_pages,
    swapped_pages,
    flipped_bytes,
    changed_words,
    cut_end,
)


def logged(folder: Path) -> Path:
    """A project whose results are in its database."""
    root = project(folder)
    done = real(root)
    assert done[0] == 0, done[1]
    assert (root / "mlflow.db").is_file()
    return root


def real(root: Path) -> tuple[int, str]:
    """Exit status and output of the command, as typed."""
    done = subprocess.run(
        [sys.executable, *TRACK[1:]],
        **{"cwd": root, "env": environment(), "capture_output": True, "timeout": 600, "check": False},
    )
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def environment() -> dict[str, str]:
    """No tracking address but that of params.yaml."""
    return {name: value for name, value in harness.environment().items() if name != "MLFLOW_TRACKING_URI"}


def attempt(whole: Path, folder: Path, number: int, rng: random.Random, *, typed: bool) -> tuple[str, str]:
    """Damage a copy of a project's database and type the command; the kind of answer, and what was wrong if it was."""
    shutil.copytree(whole, folder)
    database, how = folder / "mlflow.db", DAMAGES[number % len(DAMAGES)]
    content = bytearray(database.read_bytes())
    how(content, rng)
    database.write_bytes(content)
    if number // len(DAMAGES) % 2:  # something to log
        put(folder / "metrics/baseline.json", measured(rng.random(), 2.0, "pytorch-cpu", 100))
    os.utime(database, (0, 0))  # nobody is making it just now
    cpu_s = 0.0
    if typed:
        code, output = real(folder)
    else:
        code, output, cpu_s, _ = harness.run_forked(TRACK, folder)
    shutil.rmtree(folder)
    said = next((words for words in SAID if words in output), "")
    kind = said or ("went on" if code == 0 else "?")
    wrong = "Traceback" in output or code not in (0, 1, os.EX_TEMPFAIL) or kind == "?" or cpu_s > CPU_S
    return kind, f"{how.__name__}, exit {code}, {cpu_s:.0f} s: {output[-1500:]}" if wrong else ""


def main() -> None:
    """Damage as often as asked, tell the count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--damages", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds, bad = Counter[str](), 0
    with tempfile.TemporaryDirectory(prefix="database-damage-") as place:
        whole = logged(Path(place) / "whole")
        harness.warm()
        import mlflow  # noqa: F401  # forks have it then

        os.environ.pop("MLFLOW_TRACKING_URI", None)
        for number in range(options.damages):
            rng = random.Random(f"{options.seed}/{number}")
            kind, wrong = attempt(whole, Path(place) / str(number), number, rng, typed=number % 10 == 9)
            kinds[kind] += 1
            bad += bool(wrong)
            if wrong:
                print(f"WRONG {number}: {wrong}", flush=True)
    print(f"{bad} of {options.damages} damages were answered wrongly; the answers: {dict(kinds)}")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
