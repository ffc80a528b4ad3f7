"""All bad inputs: `python -m tests.campaigns.bad_inputs [--show] [words of case names ...]`.

Prints a table by kind, and each fault with the end of what the command said; the exit status is 1 if there is any.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.campaigns import harness
from tests.campaigns.assets import Assets, make_assets
from tests.campaigns.harness import Case, Outcome, attempt, judge
from tests.campaigns.inputs import (
    annotations,
    archives,
    checkpoints,
    layouts,
    lists,
    manifests,
    models,
    networks,
    parameters,
    pictures,
)

FAULTS = ("traceback", "hang", "memory", "accepted", "vague")
MODULES = (archives, annotations, layouts, pictures, lists, parameters, manifests, checkpoints, models, networks)


def all_cases(assets: Assets) -> list[Case]:
    """Every case, each name once."""
    found = [case for module in MODULES for case in module.cases(assets)]
    names = Counter(case.name for case in found)
    assert max(names.values()) == 1, names.most_common(3)
    return found


def run(cases: Sequence[Case], folder: Path) -> Iterator[Outcome]:
    """Try each in turn."""
    for number, case in enumerate(cases):
        yield attempt(case, folder / f"case{number}")


def in_process_of_its_own(case: Case, folder: Path) -> Outcome:
    """The same through a real shell command, which also has what a fork would hide: imports, exit, streams."""
    folder.mkdir(parents=True)
    command = list(case.make(folder))
    program = [sys.executable] if command[0] == "python" else [sys.executable, "-m", "yoloslim"]
    done = subprocess.run(
        [*program, *command[1:]],
        cwd=folder,
        env=harness.environment(),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
        check=False,
    )
    output = done.stdout + done.stderr
    return Outcome(case, judge(case, done.returncode, output), done.returncode, output, 0, 0)


def table(outcomes: Sequence[Outcome]) -> str:
    """Counts by kind, as Markdown."""
    lines = ["| kind | inputs | " + " | ".join(FAULTS) + " | slowest, s CPU |", "|---" * (len(FAULTS) + 3) + "|"]
    kinds = list(dict.fromkeys(outcome.case.kind for outcome in outcomes))
    for kind in [*kinds, "all"]:
        of_kind = [outcome for outcome in outcomes if kind in ("all", outcome.case.kind)]
        counts = Counter(fault for outcome in of_kind for fault in outcome.faults)
        slowest = max(outcome.cpu_s for outcome in of_kind)
        cells = [str(counts[fault]) for fault in FAULTS]
        lines.append(f"| {kind} | {len(of_kind)} | {' | '.join(cells)} | {slowest:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only cases whose name holds one of these")
    parser.add_argument("--show", action="store_true", help="show the answer of every case")
    parser.add_argument("--real", type=int, default=0, metavar="N", help="also every N-th as a real command")
    options = parser.parse_args()
    harness.warm()
    with tempfile.TemporaryDirectory() as temporary:
        assets = make_assets(Path(temporary) / "assets")
        cases = [c for c in all_cases(assets) if not options.words or any(w in c.name for w in options.words)]
        outcomes = []
        for outcome in run(cases, Path(temporary) / "cases"):
            outcomes.append(outcome)
            if outcome.faults or options.show:
                cost = f"[{outcome.code}] {outcome.cpu_s:.1f} s {outcome.peak_mb:.0f} MB"
                print(f"{','.join(outcome.faults) or 'ok':10} {outcome.case.name}  {cost}")
                print("    " + outcome.output[-600:].replace("\n", "\n    "), flush=True)
        print(table(outcomes))
        failed = sum(bool(outcome.faults) for outcome in outcomes)
        for number, case in enumerate(cases[:: options.real] if options.real else ()):
            outcome = in_process_of_its_own(case, Path(temporary) / "real" / str(number))
            failed += bool(outcome.faults)
            if outcome.faults:
                print(f"{','.join(outcome.faults)} as a real command: {case.name}\n{outcome.output[-600:]}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
