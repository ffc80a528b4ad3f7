"""The lines by which pages start benchmarks and campaigns, which take minutes to hours: their options exist."""

import argparse
import importlib
import re
import shlex
import sys
from typing import Any

import pytest

from tests.page_commands import ROOT, all_commands
from yoloslim.extras import is_installed

LONG = r"python -m ((?:benchmarks|tests\.campaigns)\.\w+)(?: |$)(.*)"


class Taken(Exception):
    """A command line was understood."""


def test_every_printed_line_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    understood = argparse.ArgumentParser.parse_args

    def parse(parser: argparse.ArgumentParser, *words: Any) -> None:
        understood(parser, *words)
        raise Taken

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    tried = 0
    for line in all_commands():
        found = re.fullmatch(LONG, line)
        if found and "parse_args" in (ROOT / f"{found[1].replace('.', '/')}.py").read_text(encoding="utf-8"):
            monkeypatch.setattr(sys, "argv", [found[1], *shlex.split(found[2])])
            if found[1] == "benchmarks.torch_pruning" and not is_installed("torch_pruning"):
                continue  # of the extra `benchmarks`
            module = importlib.import_module(found[1])
            with pytest.raises(Taken):
                module.main()
            tried += 1
    assert tried > 20
