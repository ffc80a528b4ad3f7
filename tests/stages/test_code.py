import subprocess
import sys
from modulefinder import ModuleFinder
from pathlib import Path

import pytest

from yoloslim.stages.code import NOT_FOLLOWED, Library, Meaning, _understand, write_fingerprints

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.stem for path in (ROOT / "pipeline").glob("*.py") if path.stem not in ("__init__", "code"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_reached_code_is_what_the_standard_library_finds(script: str) -> None:
    """ModuleFinder reads byte code, where ours reads source."""
    path = ROOT / "pipeline" / f"{script}.py"
    skipped = set(NOT_FOLLOWED) - {"yoloslim"}
    # the names that `yoloslim` offers are imported when somebody asks for them, which no stage does
    finder = ModuleFinder([str(ROOT / "src")], excludes=[*skipped, "yoloslim.api"])
    finder.run_script(str(path))
    own = {name: Path(module.__file__ or "") for name, module in finder.modules.items() if name.startswith("yoloslim.")}
    expected = {file.relative_to(ROOT / "src").as_posix() for file in own.values()}
    reached = Library(ROOT / "src/yoloslim").reached(path)
    assert {name for name in reached if name.endswith(".py")} == expected | {f"pipeline/{script}.py"}


def package(root: Path, **files: str) -> Path:
    for name, text in {"__init__": "", **files}.items():
        path = root / "yoloslim" / (name.replace("__init__", "§").replace("_", "/").replace("§", "__init__") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "yoloslim"


def closure(root: Path, *modules: str) -> set[str]:
    return set(Library(root).closure(modules))


def test_imports_are_followed_wherever_they_stand_and_however_they_are_written(tmp_path: Path) -> None:
    root = package(
        tmp_path,
        start="import os\nimport yoloslim.plain\nfrom yoloslim.named import thing\nfrom yoloslim.pack import inner\n"
        "def later():\n    from yoloslim.lazy import x\n    from . import relative\n",
        plain="",
        named="from __future__ import annotations\n",
        lazy="import yoloslim.deep",
        deep="import yoloslim.start",
        relative="",
        apart="",
        pack___init__="",
        pack_inner="",
        pack_other="",
    )
    expected = ("start", "plain", "named", "lazy", "deep", "relative", "pack/__init__", "pack/inner")
    assert closure(root, "yoloslim.start") == {f"yoloslim/{name}.py" for name in expected}


def test_what_only_type_checkers_read_and_what_only_watches_is_left_out(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nimport yoloslim.config.train\nimport yoloslim.tracking\n"
    text += "if TYPE_CHECKING:\n    import yoloslim.typed\nelse:\n    import yoloslim.run\n"
    root = package(tmp_path, start=text, typed="", run="", config___init__="", config_train="", tracking___init__="")
    assert closure(root, "yoloslim.start") == {"yoloslim/start.py", "yoloslim/run.py"}


def test_data_beside_code_counts_and_that_of_packages_inside_does_not(tmp_path: Path) -> None:
    root = package(tmp_path, nets___init__="", nets_inner___init__="", nets_zoo="")
    (root / "nets/archs").mkdir()
    (root / "nets/archs/a.yaml").write_text("1")
    (root / "nets/inner/b.yaml").write_text("1")
    expected = {f"yoloslim/nets/{name}" for name in ("__init__.py", "zoo.py", "archs/a.yaml")}
    assert closure(root, "yoloslim.nets.zoo") == expected


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ('"""Other."""\n\n\ndef f(x):\n    """Told."""\n    return (x + 1)  # why\n', True),
        ("def f(x):\n    return x + 2\n", False),
        ("def f(x, y=0):\n    return x + 1\n", False),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(tmp_path: Path, text: str, same: bool) -> None:
    for name, content in (("a.py", '"""One."""\ndef f(x): return x + 1\n'), ("b.py", text)):
        (tmp_path / name).write_text(content)
    library = Library(tmp_path)
    assert (library.fingerprint(tmp_path / "a.py") == library.fingerprint(tmp_path / "b.py")) is same


def test_every_script_gets_a_file_that_tells_what_changed(tmp_path: Path) -> None:
    scripts = tmp_path / "pipeline"
    scripts.mkdir()
    for name in ("__init__", "code", "own"):
        (scripts / f"{name}.py").write_text("from yoloslim.boxes import letterbox\n")
    write_fingerprints(tmp_path / "code", scripts)
    assert [path.name for path in (tmp_path / "code").iterdir()] == ["own.txt"]
    lines = (tmp_path / "code/own.txt").read_text().splitlines()
    assert [line.split()[1] for line in lines][:2] == ["pipeline/own.py", "yoloslim/boxes.py"]
    assert all(len(line.split()[0]) == 16 for line in lines)


def test_what_sources_mean_is_remembered_and_an_edit_or_a_damaged_memory_reads_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts, memory = tmp_path / "pipeline", tmp_path / "code.json"
    scripts.mkdir()
    (scripts / "own.py").write_text("from yoloslim.boxes import letterbox\n")
    read: list[str] = []

    def understand(path: Path, content: bytes, digest: str) -> Meaning:
        read.append(path.name)
        return _understand(path, content, digest)

    monkeypatch.setattr("yoloslim.stages.code._understand", understand)

    def written(what: str) -> str:
        read.clear()
        write_fingerprints(tmp_path / "code", scripts, memory)
        assert what == ("all" if len(read) > 1 else " ".join(read))
        return (tmp_path / "code/own.txt").read_text()

    first = written("all")
    assert written("") == first
    (scripts / "own.py").write_text("from yoloslim.boxes import letterbox, fit\n")
    assert written("own.py").splitlines()[1:] == first.splitlines()[1:]
    memory.write_text(memory.read_text()[:-40])
    (scripts / "own.py").write_text("from yoloslim.boxes import letterbox\n")
    assert written("all") == first


def test_code_of_the_way_to_a_board_changes_no_model_and_no_export() -> None:
    library = Library(ROOT / "src/yoloslim")
    remote = {"yoloslim/deploy/board/remote.py", "yoloslim/deploy/board/connection.py"}
    for script in ("baseline", "sparse", "prune", "finetune", "export", "quantize", "measure"):
        assert not remote & set(library.reached(ROOT / "pipeline" / f"{script}.py"))
    assert remote <= set(library.reached(ROOT / "pipeline/ascend_eval.py"))


def test_code_that_times_models_changes_no_training() -> None:
    library = Library(ROOT / "src/yoloslim")
    timing = {"yoloslim/stages/speeds.py", "yoloslim/stages/costs.py", "yoloslim/evaluation/speed.py"}
    for script in ("baseline", "sparse", "control", "finetune"):
        assert not timing & set(library.reached(ROOT / "pipeline" / f"{script}.py"))
    assert timing <= set(library.reached(ROOT / "pipeline/measure.py"))


def test_a_source_is_looked_for_once_however_many_scripts_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    source = Library.source

    def looked_for(self: Library, module: str) -> Path | None:
        asked.append(module)
        return source(self, module)

    monkeypatch.setattr(Library, "source", looked_for)
    library = Library(ROOT / "src/yoloslim")
    first, second = (library.reached(ROOT / "pipeline" / f"{script}.py") for script in ("measure", "finetune"))
    assert "yoloslim/boxes.py" in first.keys() & second.keys()
    assert len(asked) == len(set(asked))


def test_the_stage_that_always_runs_starts_without_numpy_and_opencv() -> None:
    code = "import sys, yoloslim.stages.code; print({'cv2', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
