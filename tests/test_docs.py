"""The documentation as a site; `make docs` builds it strictly."""

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def test_every_page_is_in_the_navigation() -> None:
    nav = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    assert sorted(_pages(nav)) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def _pages(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in _pages(part)]
