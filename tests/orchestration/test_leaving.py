"""A process is ended only where it has nothing more to do itself."""

import os
import sys
import time
from types import ModuleType

import pytest

from yoloslim.orchestration import leaving as module


def test_a_program_that_goes_on_after_a_command_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    monkeypatch.setattr(module, "is_away", lambda: True)
    monkeypatch.setitem(sys.modules, "prefect", ModuleType("prefect"))
    with module.leaving():
        pass
    time.sleep(0.5)
    assert ended == []
