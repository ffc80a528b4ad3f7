"""Imports point down only: the list in CONTRIBUTING.md, held against the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "yoloslim"


def ranks() -> dict[str, int]:
    """Package or module -> the line of the table that it stands in."""
    rows = re.findall(r"^\| (`[^|]+`) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {name: number for number, row in enumerate(rows) for name in re.findall(r"`(\w+)`", row)}


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """All below a node, inside functions too, except what only type checkers read."""
    yield node
    for_types = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    for child in node.orelse if for_types and isinstance(node, ast.If) else ast.iter_child_nodes(node):
        yield from executed(child)


def imported(path: Path) -> Iterator[str]:
    """First names below `yoloslim` that a file imports."""
    package = ["yoloslim", *path.relative_to(SOURCE).parent.parts]
    for node in executed(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            base = ".".join([*(package[: len(package) + 1 - node.level] if node.level else []), node.module or ""])
            names = [f"{base}.{alias.name}" for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("yoloslim.") and "__version__" not in name)


def test_imports_point_down_only() -> None:
    rank, wrong = ranks(), []
    for path in sorted(SOURCE.rglob("*.py")):
        own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for name in () if own == "__init__" else imported(path):
            if own != name and rank[name] > rank[own]:
                wrong.append(f"{path.relative_to(SOURCE)} imports {name}, which stands below {own}")
    assert wrong == []


def test_every_package_stands_in_the_list_once() -> None:
    there = {
        path.name.removesuffix(".py") for path in SOURCE.iterdir() if not path.name.startswith(("__pycache__", "py."))
    }
    assert set(ranks()) == there - {"__init__"}


def test_boards_get_nothing_but_the_runner() -> None:
    assert {name for path in (SOURCE / "runner").rglob("*.py") for name in imported(path)} <= {"runner"}
