"""Stage `code`: which code every other stage runs, as one small file a stage that changes when that code does.

DVC compares files, and an installed package is none of a project's. So this stage, the one that always runs, follows
the imports of each script in pipeline/, those inside functions too, and writes `code/<script>.txt`: the fingerprint of
every file that the script can reach. A stage depends on its own file, so that an edit, or an upgrade of the package,
reruns the stages whose code changed and no others. Comments, docstrings and layout do not count. What a source means
takes two seconds to tell for all of them, so that it is remembered by the hash of its bytes.
"""

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from yoloslim.config import load_params
from yoloslim.data.source_state import SEEN, is_as_seen
from yoloslim.errors import YoloslimError
from yoloslim.files import read_json, write_json
from yoloslim.stages.beforehand import alike, named_in_vain

CODE, SCRIPTS = Path("code"), Path("pipeline")
MEMORY = Path(".cache") / "code.json"
"""What sources mean, remembered."""
PACKAGE = "yoloslim"
NOT_FOLLOWED = {
    "yoloslim": "its version, and names for people who import the library",
    "yoloslim.config": "what it reads is a dependency by value: the `params` of the stages",
    "yoloslim.deploy.ascend.clock": "measures a device, which no fingerprint tells, and only where asked to",
    "yoloslim.tracking": "watches, and changes no output",
}
"""Packages whose code is no dependency of a stage, and why."""


Import = tuple[int, str, list[str]]
"""An import as it is written: dots before it, the module, the names that are taken from it."""


def write_fingerprints(out: Path = CODE, scripts: Path = SCRIPTS, memory: Path | None = None) -> None:
    """Write a file for each script: a line for each file that it reaches, with its fingerprint.

    Args:
        out: folder to write.
        scripts: folder of the scripts.
        memory: file that remembers what sources mean, made where it is missing; None remembers nothing.
    """
    library = Library(memory=memory)
    out.mkdir(parents=True, exist_ok=True)
    for script in sorted(scripts.glob("*.py")):
        if script.stem not in ("__init__", "code"):
            lines = [f"{library.fingerprint(path)}  {name}\n" for name, path in sorted(library.reached(script).items())]
            (out / f"{script.stem}.txt").write_text("".join(lines), encoding="utf-8")
    library.remember()


@dataclass(frozen=True)
class Meaning:
    """What a file means, whatever its layout.

    Attributes:
        digest: of its bytes and kind, by which this is remembered.
        fingerprint: changes with what it does.
        imports: those of Python, wherever they stand.
    """

    digest: str
    fingerprint: str
    imports: list[Import]


_OF = f"{sys.version_info[0]}.{sys.version_info[1]} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}"
"""Whose understanding it is: Python's syntax trees differ by version, and this file decides what counts of them."""


def _recall(memory: Path | None) -> dict[str, Meaning]:
    """What is remembered by digest; a file that is damaged, or of another version, is as good as none."""
    if memory is None or not memory.is_file():
        return {}
    try:
        kept = read_json(memory)
        meanings = kept["meanings"] if kept["of"] == _OF else {}
        return {
            str(digest): Meaning(
                digest, str(fingerprint), [(int(dots), str(name), list(names)) for dots, name, names in imports]
            )
            for digest, (fingerprint, imports) in meanings.items()
        }
    except (YoloslimError, ValueError, TypeError, AttributeError, LookupError, OSError):
        return {}


def _understand(path: Path, content: bytes, digest: str) -> Meaning:
    if path.suffix != ".py":
        return Meaning(digest, _short(content), [])
    tree = _without_docstrings(ast.parse(content, str(path)))
    imports: list[Import] = []
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", [alias.name for alias in node.names]))
    return Meaning(digest, _short(ast.dump(tree).encode()), imports)


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


class Library:
    """The source files of the package, read once."""

    def __init__(self, root: Path | None = None, memory: Path | None = None) -> None:
        """Take a folder with the package; by default the one that is installed, of which nothing is imported."""
        if root is None:
            spec = find_spec(PACKAGE)
            assert spec is not None
            assert spec.origin is not None
            root = Path(spec.origin).parent
        self.root = root
        self._memory = memory
        self._remembered = _recall(memory)
        self._meanings: dict[Path, Meaning] = {}
        self._imports: dict[str, tuple[str, ...]] = {}
        self._files: dict[str, tuple[Path, ...]] = {}

    def remember(self) -> None:
        """Write what was learnt to the file that remembers it, where there is one and it lacks something."""
        learnt = {meaning.digest: meaning for meaning in self._meanings.values()}
        if self._memory and learnt.keys() != self._remembered.keys():
            found = {digest: [meaning.fingerprint, meaning.imports] for digest, meaning in learnt.items()}
            with suppress(OSError, YoloslimError):  # the next run reads the sources again
                write_json(self._memory, {"of": _OF, "meanings": found}, indent=None)

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
            if module in seen:
                continue
            seen.add(module)
            files = self._files_of(module)
            if not files or any(_within(module, package) for package in NOT_FOLLOWED):
                continue
            found |= {file.relative_to(self.root.parent).as_posix(): file for file in files}
            if module not in self._imports:
                self._imports[module] = self._imported(files[0], module)
            left += [module.rpartition(".")[0], *self._imports[module]]
        return found

    def _files_of(self, module: str) -> tuple[Path, ...]:
        """File of a module and data beside it, looked for once; none if the package has none of this name."""
        if module not in self._files:
            path = self.source(module)
            self._files[module] = (path, *data_beside(path)) if path else ()
        return self._files[module]

    def source(self, module: str) -> Path | None:
        """File of a module; None if the package has none of this name."""
        head, *rest = module.split(".")
        base = self.root.joinpath(*rest)
        candidates = (base / "__init__.py", base.with_suffix(".py")) if head == PACKAGE else ()
        return next((path for path in candidates if path.is_file()), None)

    def fingerprint(self, path: Path) -> str:
        """Hash of what a file means: of Python its syntax tree without docstrings, of others the bytes."""
        return self._meaning(path).fingerprint

    def _meaning(self, path: Path) -> Meaning:
        if path not in self._meanings:
            content = path.read_bytes()
            digest = hashlib.sha256(path.suffix.encode() + content).hexdigest()
            self._meanings[path] = self._remembered.get(digest) or _understand(path, content, digest)
        return self._meanings[path]

    def _imported(self, path: Path, module: str) -> tuple[str, ...]:
        """Modules of the package that a file imports, wherever in it, and names that may be modules."""
        package = (module if path.name == "__init__.py" else module.rpartition(".")[0]).split(".")
        found: list[str] = []
        for dots, name, names in self._meaning(path).imports:
            above = package[: len(package) + 1 - dots] if dots else []
            base = ".".join([*above, *([name] if name else [])])
            found += [base, *(f"{base}.{each}" for each in names)]
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
    """Run the stage; say what is wrong with params.yaml, and where the photographs are not those that were prepared.

    Both before anything else runs: DVC sees neither, and fails in its own words at a stage that lacks its model.
    """
    try:
        params = load_params()
        wrong = named_in_vain(params)
    except YoloslimError as error:
        sys.exit(f"error: {error}")
    if wrong:
        sys.exit(f"error: {wrong}")
    write_fingerprints(memory=MEMORY)
    if said := alike(params):
        print(said, file=sys.stderr)
    if SEEN.is_file() and is_as_seen(params.data) is False:
        print(
            f"data.path {params.data.path} has other files than stage data prepared; to prepare them: "
            "dvc repro --force --single-item data",
            file=sys.stderr,
        )
