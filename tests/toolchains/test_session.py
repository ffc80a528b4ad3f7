import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from yoloslim.errors import DeployError
from yoloslim.toolchains import TOOLCHAINS, Session
from yoloslim.toolchains.base import HOME, MARK, Toolchain

PROGRAM = """
import os, sys, time

class Refused(Exception):
    pass

def version():
    return "2.6.9"

def double(arrays, note):
    print("printed by a library")
    os.write(1, b"printed by C++\\n")
    return {"note": note.upper()}, [2 * array for array in arrays]

def refuse(arrays):
    raise Refused("operator Mish is not known")

def fail(arrays):
    raise KeyError("weight")

def look_for(arrays):
    import a_package_that_somebody_removed

def die(arrays):
    sys.stderr.write("out of memory\\n")
    sys.stderr.flush()
    os._exit(9)

def hang(arrays):
    time.sleep(600)

COMMANDS = {"double": double, "refuse": refuse, "fail": fail, "look_for": look_for, "die": die, "hang": hang}
"""


@pytest.fixture
def toolchain(tmp_path: Path) -> Toolchain:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("\\\\", "\\"))
    return replace(TOOLCHAINS["litert"], program=lambda: program)


def start(toolchain: Toolchain) -> Session:
    return Session(toolchain, Path(sys.executable))


def test_arrays_and_options_go_there_and_back_though_libraries_print(toolchain: Toolchain) -> None:
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([200], np.uint8), np.zeros((0, 4), np.int64)]
    with start(toolchain) as session:
        for _ in range(2):
            done, found = session.ask("double", arrays, note="done")
            assert done == {"note": "DONE"}
            for a, b in zip(found, arrays, strict=True):
                np.testing.assert_array_equal(a, 2 * b)
                assert a.dtype == b.dtype
        assert session.log().count("printed by C++") == 2


def test_a_refusal_is_told_and_the_next_request_is_answered(toolchain: Toolchain) -> None:
    with start(toolchain) as session:
        with pytest.raises(DeployError, match=r"^onnx2tf 2\.6\.9: operator Mish is not known$"):
            session.ask("refuse")
        with pytest.raises(DeployError, match="'weight'"):
            session.ask("fail")
        assert session.ask("double", note="x")[0] == {"note": "X"}


def test_a_damaged_one_is_told_with_the_command_that_mends_it(toolchain: Toolchain) -> None:
    with start(toolchain) as session:
        message = r"damaged \(No module named 'a_package_that_somebody_removed'\): yoloslim toolchain install litert"
        with pytest.raises(DeployError, match=message):
            session.ask("look_for")
        assert session.ask("double", note="x")[0] == {"note": "X"}
    toolchain.program().write_text("import a_package_that_somebody_removed")
    with pytest.raises(DeployError, match=r"died \(exit code 1, starting\): .*; yoloslim toolchain install litert"):
        start(toolchain)


def test_one_that_dies_or_hangs_is_told_with_its_last_words(toolchain: Toolchain) -> None:
    with start(toolchain) as session, pytest.raises(DeployError, match=r"litert died \(exit code 9, die\): out of mem"):
        session.ask("die")
    with start(toolchain) as session, pytest.raises(DeployError, match=r"litert was stopped after 0\.5 s \(hang\)"):
        session.ask("hang", timeout_s=0.5)


def test_another_version_of_the_package_is_refused(toolchain: Toolchain) -> None:
    message = r"holds onnx2tf 2\.6\.9, this yoloslim works with 3\.0; yoloslim toolchain install litert"
    with pytest.raises(DeployError, match=message):
        start(replace(toolchain, version="3.0"))


def test_one_that_is_absent_or_of_another_yoloslim_is_said_in_one_line(
    toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME, str(tmp_path / "toolchains"))
    message = r"litert \(.*\) is not installed: yoloslim toolchain install litert \(needs 1\.0 GB of disk\)"
    with pytest.raises(DeployError, match=message):
        Session(toolchain)
    toolchain.folder.mkdir(parents=True)
    (toolchain.folder / MARK).write_text(json.dumps({"pins": "of last year"}))
    with pytest.raises(DeployError, match="installed by another version of yoloslim, with other packages"):
        Session(toolchain)
    (toolchain.folder / MARK).write_text("{")
    with pytest.raises(DeployError, match="cannot be read: yoloslim toolchain install litert"):
        Session(toolchain)
