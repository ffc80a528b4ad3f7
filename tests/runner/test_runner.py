"""What boards can run: Python 3.7 with numpy, nothing else."""

import ast
import sys
from pathlib import Path

import pytest

from yoloslim import runner

SOURCES = sorted(Path(runner.__file__).parent.glob("*.py"))
OPTIONAL = {"StreamManagerApi", "acl", "cv2", "onnxruntime", "PIL", "rknnlite"}
"""Imported where they are needed, with a message of their own where they are missing."""


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_source_is_python_3_7_and_imports_little(source: Path) -> None:
    tree = ast.parse(source.read_text(), feature_version=(3, 7))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    absolute = [node for node in imports if not getattr(node, "level", 0)]
    names = {a.name for n in absolute if isinstance(n, ast.Import) for a in n.names}
    names |= {str(n.module) for n in absolute if isinstance(n, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names | OPTIONAL | {"numpy"}
    if any(isinstance(node, (ast.FunctionDef, ast.AnnAssign)) for node in ast.walk(tree)):
        assert "__future__" in names  # newer annotations are text there
    new = {"removeprefix", "removesuffix", "cache", "pairwise"}  # of 3.9 and 3.10
    assert not new & {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
