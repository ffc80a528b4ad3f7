"""The documentation as a site; `make docs` builds it strictly."""

import re
import tomllib
from typing import Any

from tests.page_commands import ELSEWHERE, ROOT, all_commands, commands_of, typed_here


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


def test_the_chinese_pages_type_the_same_commands_and_have_the_same_figures() -> None:
    english, chinese = ROOT / "README.md", ROOT / "README.zh-CN.md"
    known = {*commands_of(english), *commands_of(ROOT / "docs/first-model.md")}
    assert [command for command in commands_of(chinese) if command not in known] == []
    assert [command for command in commands_of(english) if command not in commands_of(chinese)] == []
    text = chinese.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:baseline|\d+ %).*", english.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 4
    for row in rows:
        assert row.split("|", 2)[2] in text, row
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target


def test_the_commands_of_the_story_are_commands_that_exist() -> None:
    from typer.main import get_command

    from yoloslim.cli import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    typed = [part for line in commands_of(ROOT / "docs/first-model.md") for part in line.split(" && ")]
    assert [line for line in typed if line.startswith("yoloslim") and line.split()[1] not in known] == []


def test_most_commands_of_the_pages_are_typed_and_every_other_has_its_reason() -> None:
    every = all_commands()
    assert [known for known in ELSEWHERE if not any(re.fullmatch(known, command) for command in every)] == []
    assert len(typed_here()) >= 19, typed_here()
