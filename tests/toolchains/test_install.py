import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.toolchains import needs_toolchain
from yoloslim.cli import app
from yoloslim.errors import DeployError
from yoloslim.toolchains import TOOLCHAINS, install, remove, state_of
from yoloslim.toolchains.base import HOME, MARK
from yoloslim.toolchains.install import find_python, self_test

LITERT = TOOLCHAINS["litert"]


@pytest.fixture(autouse=True)
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if "really" not in request.node.name:
        monkeypatch.setenv(HOME, str(tmp_path / "toolchains"))
    return tmp_path / "toolchains"


@pytest.mark.parametrize("name", TOOLCHAINS)
def test_every_package_is_pinned_and_the_one_it_is_about_is_among_them(name: str) -> None:
    lines = [line for line in TOOLCHAINS[name].requirements.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line) for line in lines)
    assert f"{TOOLCHAINS[name].package}=={TOOLCHAINS[name].version}" in lines
    assert not any(line.startswith(("torch==", "tensorflow==")) for line in lines)


def test_a_disk_that_is_too_small_is_said_before_anything_is_done(home: Path) -> None:
    said: list[str] = []
    with pytest.raises(DeployError, match=r"litert needs 1000000\.0 GB and .* GB are free in .*YOLOSLIM_TOOLCHAINS"):
        install(replace(LITERT, disk_mb=10**9), said.append, Path(sys.executable))
    assert not home.exists()
    assert said == []


@pytest.mark.slow  # Python makes an environment with pip
def test_what_stands_there_stays_when_a_package_cannot_be_had(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    (home / "litert").mkdir(parents=True)
    (home / "litert" / MARK).write_text(json.dumps({"pins": LITERT.pins}))
    with pytest.raises(DeployError, match=r"installing its packages failed: .*nothing was changed"):
        install(LITERT, lambda _: None, Path(sys.executable))
    assert state_of(LITERT).word == "installed"
    assert [path.name for path in home.iterdir()] == ["litert"]


def test_a_python_that_does_not_fit_is_said_with_a_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    with pytest.raises(DeployError, match=r"needs Python 3\.98 or 3\.99 with venv.* --python PATH"):
        find_python(replace(LITERT, pythons=(98, 99)))
    with pytest.raises(DeployError, match=r"shares torch, torchgen with .*is for 3\.98: install yoloslim there"):
        find_python(replace(TOOLCHAINS["rockchip"], pythons=(98,)))
    assert find_python(replace(LITERT, pythons=(sys.version_info.minor,))) == Path(sys.executable)


def test_states_and_removal(home: Path) -> None:
    assert state_of(LITERT).word == "absent"
    (home / "litert").mkdir(parents=True)
    (home / "litert" / "file").write_bytes(bytes(3_000_000))
    (home / "litert" / MARK).write_text(json.dumps({"pins": "other"}))
    assert state_of(LITERT).word == "outdated"
    assert state_of(LITERT).size_mb == pytest.approx(3, abs=0.01)
    assert remove(LITERT) == pytest.approx(3, abs=0.01)
    assert state_of(LITERT).word == "absent"
    with pytest.raises(DeployError, match=r"the toolchain litert is not installed: .*litert is not there"):
        remove(LITERT)


def test_an_interpreter_that_fails_without_a_word_is_said_with_its_status(home: Path) -> None:
    with pytest.raises(DeployError, match="making the environment failed: status 1; nothing was changed"):
        install(replace(LITERT, disk_mb=1), print, python=Path("/bin/false"))


ROCKCHIP = TOOLCHAINS["rockchip"]


def borrowing(home: Path, lender: Path, minor: int) -> Path:
    """A toolchain on Python 3.`minor` with links into the folder of another installation; its packages' folder."""
    site = home / "rockchip" / "lib" / f"python3.{minor}" / "site-packages"
    site.mkdir(parents=True)
    (home / "rockchip" / MARK).write_text(json.dumps({"pins": ROCKCHIP.pins}))
    for package in ROCKCHIP.borrows:
        (lender / package).mkdir(parents=True)
        (site / package).symlink_to(lender / package, target_is_directory=True)
    return site


def test_what_was_borrowed_from_an_installation_that_is_gone_is_borrowed_here(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = borrowing(home, tmp_path / "other", sys.version_info.minor)
    assert state_of(ROCKCHIP).word == "installed"
    assert (site / "torch").resolve() == tmp_path / "other" / "torch"
    assert caplog.text == ""
    (tmp_path / "other" / "torch").rmdir()
    assert state_of(ROCKCHIP).word == "installed"
    assert (site / "torch").resolve() == Path(str(torch.__file__)).resolve().parent
    assert (site / "torchgen").resolve() == tmp_path / "other" / "torchgen"
    assert sorted(path.name for path in site.iterdir()) == ["torch", "torchgen"]
    assert f"rockchip: torch is taken from here now, since {tmp_path / 'other'} is gone" in caplog.text


def test_what_another_python_borrowed_from_an_installation_that_is_gone_is_said(home: Path, tmp_path: Path) -> None:
    site = borrowing(home, tmp_path / "other", 98)
    assert state_of(ROCKCHIP).word == "installed"
    (tmp_path / "other" / "torch").rmdir()
    assert state_of(ROCKCHIP).word == "outdated"
    with pytest.raises(DeployError, match=r"borrowed torch from an installation .* is gone: yoloslim t"):
        self_test(ROCKCHIP)
    assert not (site / "torch").exists()


def test_the_command_lists_what_there_is_and_what_to_type() -> None:
    done = CliRunner().invoke(app, ["toolchain", "list"])
    assert done.exit_code == 0
    assert re.search(r"litert +absent +onnx2tf 2\.6\.9: .*yoloslim toolchain install litert", done.output)
    assert "rockchip" in done.output
    unknown = CliRunner().invoke(app, ["toolchain", "install", "tensorrt"])
    assert str(unknown.exception) == "toolchain 'tensorrt' is not known; known: litert, rockchip"


@pytest.mark.parametrize("name", TOOLCHAINS)
def test_an_installed_toolchain_really_computes_what_onnx_runtime_does(name: str) -> None:
    needs_toolchain(name)
    assert self_test(TOOLCHAINS[name]) < (1e-5 if name == "litert" else 0.01)
