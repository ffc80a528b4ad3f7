"""What to tell people to type: the targets of a checkout's Makefile, plain commands in projects that have none."""

import os
from functools import cache
from pathlib import Path

PLAIN = {
    "repro": "dvc repro",
    "setup": "pip install --upgrade yoloslim",
    "track": "python -m pipeline.track",
    "ui": "python -m yoloslim.stages.ui",
}
"""Target -> what does the same."""


def to_type(target: str) -> str:
    """The command for a target, in the current folder."""
    return f"make {target}" if target in _targets(Path("Makefile").absolute()) else PLAIN[target]


ACTIVATE = "source .venv/bin/activate"
"""What brings the environment of `make setup` to the commands of a terminal."""


def is_hidden() -> bool:
    """Whether the environment of `make setup` is there, and the terminal that this was called from has not got it."""
    environment = Path(".venv").absolute()
    has_it = Path(os.environ.get("VIRTUAL_ENV") or "/").resolve() == environment.resolve()
    return (environment / "bin" / "activate").is_file() and not has_it


@cache
def _targets(makefile: Path) -> frozenset[str]:
    """Names that a Makefile has rules for; none where there is no such file."""
    try:
        lines = makefile.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(line.partition(":")[0] for line in lines if ":" in line)
