"""Lines of the pages that no test types as printed: each is at least understood by the program that it names."""

import argparse
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from typer.core import TyperCommand
from typer.testing import CliRunner

from tests.page_commands import all_commands, where
from yoloslim.cli import app

ROOT = Path(__file__).parents[1]
UNTYPED = [command for command in all_commands() if where(command).startswith("(")]
OF_OTHERS = ("docker", "mlflow", "distributed", "scp", "ssh", "mkdir", "git")
"""Programs that are elsewhere, or take long to start: their lines are read by the shell alone."""


class Understood(Exception):
    """A program has read its arguments."""


def words_of(command: str) -> list[str]:
    """Of several commands the last one, without settings and `python -m` before it."""
    words = shlex.split(command)
    last = len(words) - words[::-1].index("&&") if "&&" in words else 0
    words = [word for word in words[last:] if not re.match("[A-Z_]+=", word)]
    return words[2:] if words[:2] == ["python", "-m"] else words


def program(command: str) -> str:
    return words_of(command)[0].split(".")[0]


def arguments(command: str) -> list[str]:
    return words_of(command)[1:]


def of(*names: str) -> list[str]:
    return [command for command in UNTYPED if program(command) in names]


def test_every_line_is_understood_here_or_of_a_program_that_is_elsewhere() -> None:
    known = (*OF_OTHERS, "benchmarks", "tests", "pytest", "yoloslim", "make", "pip")
    assert [command for command in UNTYPED if program(command) not in known] == []


@pytest.mark.parametrize("command", of("benchmarks", "tests"))
def test_scripts_take_the_arguments(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def understand(parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> Any:
        parse(parser, *args, **kwargs)
        raise Understood

    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.chdir(tmp_path)
    name, *words = words_of(command)
    if name.endswith("board_kills") and not shutil.which("sshd"):
        pytest.skip("no sshd, which it starts first")
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    if not re.search(r"parse_args\(|campaigns\.campaign", Path(spec.origin).read_text(encoding="utf-8")):
        assert words == []  # it reads none
        return
    parse = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", understand)
    monkeypatch.setattr(sys, "argv", [name, *words])
    monkeypatch.setitem(sys.modules, "torch_pruning", MagicMock())  # of an extra that is not installed here
    warnings.simplefilter("ignore", RuntimeWarning)  # imported by another test; pytest takes it back
    with pytest.raises(Understood):
        runpy.run_module(name, run_name="__main__")


@pytest.mark.parametrize("command", of("yoloslim"))
def test_commands_of_yoloslim_have_the_options(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    understood = []
    monkeypatch.setattr(TyperCommand, "invoke", lambda self, context: understood.append(context.params))
    done = CliRunner().invoke(app, arguments(command))
    assert done.exit_code == 0, done.output
    assert len(understood) == 1


def test_make_has_the_targets() -> None:
    for command in of("make"):
        done = subprocess.run(["make", "--dry-run", *arguments(command)], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_pip_has_the_options_and_yoloslim_the_extras() -> None:
    from pip._internal.commands import create_command

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for command in of("pip"):
        verb, *words = arguments(command)
        _, wanted = create_command(verb).parse_args(words)
        for each in [*wanted, *re.findall(r"--editable '([^']+)'", command)]:
            extras = re.fullmatch(r"(?:yoloslim|\.)\[(.+)\]", each)
            assert not extras or set(extras[1].split(",")) <= project["optional-dependencies"].keys(), command


def test_files_and_lines_are_whole() -> None:
    for command in UNTYPED:
        read = subprocess.run(["bash", "-n", "-c", command], capture_output=True, env=os.environ, check=False)
        assert read.returncode == 0, read.stderr
    for command in of("pytest"):
        assert all((ROOT / word).is_file() for word in arguments(command))
