"""What the pages say to type, and which of it a test types exactly as printed."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")))


def commands_of(page: Path) -> list[str]:
    """What its blocks of shell say to type, comments left out."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", "").splitlines()
    return [" ".join(line.split("  #")[0].split(" # ")[0].split()) for line in lines if line.strip()]


def all_commands() -> list[str]:
    """Those of all pages, each once."""
    return list(dict.fromkeys(command for page in PAGES for command in commands_of(ROOT / page)))


ELSEWHERE = {
    r"make (repro|test|sweep)": "install an environment first; CI types the first two",
    r"pip install -e \.": "installs",
    r"dvc exp run -S data\.source=voc2007 .*": "downloads 900 MB, and wants a GPU",
    r"yoloslim data check /data/boxes\.zip": "a folder of the reader's; typed for photos/",
    r"yoloslim (eval|inspect|prune) m(ine|odel)\.pt.*": "somebody's checkpoint; tests/tasks types them with made ones",
    r"yoloslim sweep .*": "minutes; tests/orchestration types sweeps",
    r"bash run\.sh .*": "on a board; tests/runner types them on a fake one",
    r"dvc exp run .*": "train again, minutes",
    r"dvc push .*": "to a remote; tests/test_remotes.py types it for four kinds",
    r"gto register .*": "to a server; tests/stages types it without one",
    r"dvc artifacts get https://.*": "likewise",
}
"""Commands, as patterns, that cannot be typed as printed in a finished tiny project, and why."""


def typed_here() -> list[str]:
    """Commands that a test types exactly as printed."""
    return [command for command in all_commands() if not any(re.fullmatch(known, command) for known in ELSEWHERE)]
