"""Ctrl-C while `yoloslim` imports, and while a command runs, ends it in one line with 130."""

import os
import signal
import subprocess
import sys
import tomllib
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

INTERRUPT = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(10)\n"


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`yoloslim` with some words, before whose imports a folder's modules come; it hears SIGINT, whatever we do."""
    return subprocess.run(
        [sys.executable, "-m", "yoloslim", *words],
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("module", ["typer", "rich"])  # imported at once, and by the command `models`
def test_ctrl_c_ends_the_command_in_one_line(tmp_path: Path, module: str) -> None:
    (tmp_path / f"{module}.py").write_text(INTERRUPT)
    ended = typed(tmp_path, "models")
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "stopped\n")


def test_the_installed_command_is_this_one() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, name = project["scripts"]["yoloslim"].split(":")
    assert module == "yoloslim.__main__"
    assert callable(getattr(import_module(module), name))
