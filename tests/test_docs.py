"""The documentation as a site; `make docs` builds it strictly."""

import re
import tomllib
from typing import Any

from tests.page_commands import BY_OTHERS, ELSEWHERE, ROOT, SERVED, all_commands, commands_of, where


def test_every_page_is_in_the_navigation() -> None:
    nav = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    assert sorted(_pages(nav)) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def _pages(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in _pages(part)]


def test_all_rows_of_a_table_have_as_many_cells() -> None:
    """GitHub shows a table whose header and line of dashes differ as text."""
    uneven = []
    for page in (*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")):
        tables = re.findall(r"(?m)(?:^\|.*\|$\n?)+", re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8")))
        for table in tables:
            rows = [re.sub(r"`[^`]*`|\\\|", "", row).count("|") for row in table.splitlines()]
            uneven += [] if len(set(rows)) == 1 else [f"{page.name}: {table[:80]}"]
    assert uneven == []


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
    rows = [line for line in english.read_text(encoding="utf-8").splitlines() if line.count("|") == 8][2:]
    assert len(rows) == 5  # baseline, control, three percents
    for row in rows:
        assert row.split("|", 2)[2] in text, row
    figure, link = r"\d+\.\d+", r"\]\(([^):]+)\)"
    ours, theirs = (
        {each: set(re.findall(each, page)) for each in (figure, link)} for page in (english.read_text(), text)
    )
    assert ours[figure] == theirs[figure]
    assert ours[link] - {chinese.name} == theirs[link] - {english.name}
    for target in theirs[link]:
        assert (ROOT / target.partition("#")[0]).exists(), target


def test_the_commands_of_the_story_are_commands_that_exist() -> None:
    from typer.main import get_command

    from yoloslim.cli import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    typed = [part for line in commands_of(ROOT / "docs/first-model.md") for part in line.split(" && ")]
    assert [line for line in typed if line.startswith("yoloslim") and line.split()[1] not in known] == []


def test_every_command_of_the_pages_is_typed_by_a_test_or_has_its_reason() -> None:
    every = all_commands()
    assert [command for command in every if not where(command)] == []
    assert [known for known in ELSEWHERE if not any(re.fullmatch(known, command) for command in every)] == []
    for file, commands in BY_OTHERS.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        assert [command for command in commands if command not in every] == [], file
        assert file == SERVED or [command for command in commands if f'"{command}"' not in text] == [], file
    typed = sum(not where(command).startswith("(") for command in every)
    print(f"{typed} of {len(every)} printed commands are typed by a test")
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
    assert (
        f"Of the {len(every)} commands that README and guides print, tests type {typed} exactly as they stand"
        in english
    )
    assert f"{len(every)} 条命令中，有 {typed} 条" in chinese


def test_blocks_of_commands_are_marked_as_such() -> None:
    """Others would escape the test above."""
    for page in sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md")]):
        blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        bare = "".join(text for kind, text in blocks if not kind)
        assert re.findall(r"^(?:yoloslim|dvc|make|git|pip|prefect|mlflow|docker|python -m) .*", bare, re.M) == [], page


INDENTED = r"^    (?:yoloslim|dvc|make|git|pip|prefect|mlflow|docker|bash|python -m) .*"


def test_no_command_hides_in_an_indented_block() -> None:
    for page in sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md")]):
        text = re.sub(r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        assert re.findall(INDENTED, text, re.MULTILINE) == [], page
