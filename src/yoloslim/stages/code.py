"""Stage `code`: which code every other stage runs, as one small file a stage that changes when that code does.

DVC compares files, and an installed package is none of a project's. So this stage, the one that always runs, follows
the imports of each script in pipeline/, those inside functions too, and writes `code/<script>.txt`: the fingerprint of
every file that the script can reach. A stage depends on its own file, so that an edit, or an upgrade of the package,
reruns the stages whose code changed and no others. Comments, docstrings and layout do not count.
"""

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from yoloslim.config import load_params
from yoloslim.data.source_state import SEEN, is_as_seen
from yoloslim.errors import YoloslimError

CODE, SCRIPTS = Path("code"), Path("pipeline")
PACKAGE = "yoloslim"
NOT_FOLLOWED = {
    "yoloslim": "its version, and names for people who import the library",
    "yoloslim.config": "what it reads is a dependency by value: the `params` of the stages",
    "yoloslim.deploy.ascend.clock": "measures a device, which no fingerprint tells, and only where asked to",
    "yoloslim.tracking": "watches, and changes no output",
}
"""Packages whose code is no dependency of a stage, and why."""


def write_fingerprints(out: Path = CODE, scripts: Path = SCRIPTS) -> None:
    """Write a file for each script: a line for each file that it reaches, with its fingerprint.

    Args:
        out: folder to write.
        scripts: folder of the scripts.
    """
    library = Library()
    out.mkdir(parents=True, exist_ok=True)
    for script in sorted(scripts.glob("*.py")):
        if script.stem not in ("__init__", "code"):
            lines = [f"{library.fingerprint(path)}  {name}\n" for name, path in sorted(library.reached(script).items())]
            (out / f"{script.stem}.txt").write_text("".join(lines), encoding="utf-8")


class Library:
    """The source files of the package, read once."""

    def __init__(self, root: Path | None = None) -> None:
        """Take a folder with the package; by default the one that is installed, of which nothing is imported."""
        if root is None:
            spec = find_spec(PACKAGE)
            assert spec is not None
            assert spec.origin is not None
            root = Path(spec.origin).parent
        self.root = root
        self._trees: dict[Path, ast.Module] = {}
        self._fingerprints: dict[Path, str] = {}
        self._imports: dict[str, tuple[str, ...]] = {}

    def reached(self, script: Path) -> dict[str, Path]:
        """A script and the files of the package that it reaches: name (`yoloslim/pruning/surgery.py`) -> file."""
        closure = self.closure(self._imported(script, script.stem))
        return {f"{script.parent.name}/{script.name}": script} | closure

    def closure(self, modules: Iterable[str]) -> dict[str, Path]:
        """Files that some modules reach, their own and data beside them included.

        Args:
            modules: full names; those outside the package are passed over.
        """
        found: dict[str, Path] = {}
        left, seen = list(modules), set[str]()
        while left:
            module = left.pop()
            path = self.source(module)
            if module in seen or path is None or any(_within(module, package) for package in NOT_FOLLOWED):
                continue
            seen.add(module)
            found |= {file.relative_to(self.root.parent).as_posix(): file for file in (path, *data_beside(path))}
            if module not in self._imports:
                self._imports[module] = self._imported(path, module)
            left += [module.rpartition(".")[0], *self._imports[module]]
        return found

    def source(self, module: str) -> Path | None:
        """File of a module; None if the package has none of this name."""
        head, *rest = module.split(".")
        base = self.root.joinpath(*rest)
        candidates = (base / "__init__.py", base.with_suffix(".py")) if head == PACKAGE else ()
        return next((path for path in candidates if path.is_file()), None)

    def fingerprint(self, path: Path) -> str:
        """Hash of what a file means: of Python its syntax tree without docstrings, of others the bytes."""
        if path not in self._fingerprints:
            content = ast.dump(self._tree(path)).encode() if path.suffix == ".py" else path.read_bytes()
            self._fingerprints[path] = hashlib.sha256(content).hexdigest()[:16]
        return self._fingerprints[path]

    def _tree(self, path: Path) -> ast.Module:
        if path not in self._trees:
            self._trees[path] = _without_docstrings(ast.parse(path.read_bytes(), str(path)))
        return self._trees[path]

    def _imported(self, path: Path, module: str) -> tuple[str, ...]:
        """Modules of the package that a file imports, wherever in it, and names that may be modules."""
        package = (module if path.name == "__init__.py" else module.rpartition(".")[0]).split(".")
        found: list[str] = []
        for node in _executed(self._tree(path)):
            if isinstance(node, ast.Import):
                found += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                above = package[: len(package) + 1 - node.level] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        return tuple(dict.fromkeys(name for name in found if name.partition(".")[0] == PACKAGE))


def data_beside(path: Path) -> Iterator[Path]:
    """What the package of an `__init__.py` has besides code, such as architectures as YAML."""
    if path.name == "__init__.py":
        packages = {other.parent for other in path.parent.glob("*/__init__.py")}
        for file in sorted(path.parent.rglob("*")):
            if file.is_file() and file.suffix not in (".py", ".pyc") and not packages & set(file.parents):
                yield file


def _within(module: str, package: str) -> bool:
    return module == package or (package != PACKAGE and module.startswith(f"{package}."))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [child for child in node.body if not _is_text(child)]
    return tree


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """All below a node, except what only type checkers read."""
    yield node
    for_types = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    for child in node.orelse if for_types and isinstance(node, ast.If) else ast.iter_child_nodes(node):
        yield from _executed(child)


def main() -> None:
    """Run the stage, and say where the photographs are not those that were prepared, which DVC does not see."""
    write_fingerprints()
    if not SEEN.is_file():
        return
    try:
        params = load_params().data
    except YoloslimError:  # the stages that need params.yaml say what is wrong with it
        return
    if is_as_seen(params) is False:
        print(
            f"data.path {params.path} has other files than stage data prepared; to prepare them: "
            "dvc repro --force --single-item data",
            file=sys.stderr,
        )
