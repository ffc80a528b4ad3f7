import sys
from pathlib import Path

import pytest

from yoloslim.orchestration.process import CommandError, stream


def test_stream_passes_lines_on_in_order() -> None:
    lines: list[str] = []
    stream([sys.executable, "-c", "print('one'); print('two')"], lines.append, Path())
    assert lines == ["one", "two"]


def test_stream_names_command_status_and_last_line_of_a_failure() -> None:
    command = [sys.executable, "-c", "import sys; print('no space left'); sys.exit(3)"]
    with pytest.raises(CommandError, match=r"ended with status 3: no space left"):
        stream(command, lambda line: None, Path())
