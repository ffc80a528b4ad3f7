"""The documentation as a site; `make docs` builds it strictly."""

import re
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


def test_errors_that_the_page_explains_are_errors_that_the_library_has() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py")))
    joined = re.sub(r'"\s*f?"', "", source)  # texts that go on in the next line
    lines = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8").splitlines()
    said = [found[1] for line in lines if (found := re.match(r"\| `([^`]+)` \|", line))]
    assert len(said) > 10
    parts = {text: [part for part in text.split("params.yaml") if part.strip()] for text in said}
    assert [text for text in said if not all(part in joined for part in parts[text])] == []
