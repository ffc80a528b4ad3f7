"""The pages' lines for DVC, GTO and make, as they are printed; stages are real here, what they compute is made up."""

import os
import shlex
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from dvc.cli import main as dvc_main

from tests.orchestration.toy import ROOT, Toy, toy_pipeline
from tests.page_commands import typed_by
from yoloslim.config import load_params

pytestmark = pytest.mark.slow
STAGES = ("code", "data", "listing", "baseline", "sparse", "prune", "export", "atc", "champion")
SETTINGS = ("params.yaml", ".dvc/config")
SERVER = "make ui"


class Small(Toy):
    """A few of the stages, a remote, and an address that leads to a repository in this machine."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        home = root.parent / "home"
        home.mkdir()
        self.environment |= {
            "HOME": str(home),
            "PIP_NO_INDEX": "1",
            "PIP_DRY_RUN": "1",
        }  # pip only looks
        origin = root.parent / "yoloslim.git"
        rewritten = f'[url "{origin}"]\n\tinsteadOf = https://host/yoloslim.git\n'
        (home / ".gitconfig").write_text(rewritten + "[user]\n\tname = tests\n\temail = tests@example.org\n")
        stages = {name: body for name, body in toy_pipeline()["stages"].items() if name in STAGES}
        for body in stages.values():
            body = body.get("do", body)
            body["deps"] = [path for path in body["deps"] if path.startswith(("data", "models/prune", "stage.py"))]
        artifacts = {"champion": {"path": "models/champion", "type": "model"}}
        (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages, "artifacts": artifacts}, sort_keys=False))
        params = yaml.safe_load((root / "params.yaml").read_text()) | {"percents": [50, 70]}
        (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        (root / "summary").mkdir()
        (root / "summary/note.json").write_text('{"map50": 0.5}')
        shutil.copytree(ROOT / "docs", root / "docs")
        shutil.copy(ROOT / "zensical.toml", root)
        (root / "src").symlink_to(ROOT / "src")
        self.as_checkout()
        self.run("git", "init", "--quiet", "--bare", str(origin))
        self.run("git", "remote", "add", "origin", str(origin))
        self.run("dvc", "remote", "add", "--default", "nas", str(root.parent / "nas"))
        self.run("dvc", "repro", "--quiet")
        self.commit("results")
        self.run("git", "push", "--quiet", "--set-upstream", "origin", "HEAD")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    root = tmp_path_factory.mktemp("typed") / "project"
    root.mkdir()
    return Small(root)


def test_the_lines_run(small: Small, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(small.root)
    for name, value in small.environment.items():
        monkeypatch.setenv(name, value)
    before = {name: (small.root / name).read_bytes() for name in SETTINGS}
    failed = {}
    for number, line in enumerate(typed_by("tests/test_page_commands.py")):
        if line == SERVER:
            continue
        (small.root / "summary/note.json").write_text(
            f'{{"map50": 0.{number}}}'
        )  # results, for the lines that commit some
        if not line.startswith("dvc remote modify"):  # of the remote of the line before
            for name, content in before.items():
                (small.root / name).write_bytes(content)
            (small.root / ".dvc/config.local").unlink(missing_ok=True)
            shutil.rmtree(small.root / "model", ignore_errors=True)
        if not went_well(line, small):
            failed[line] = capfd.readouterr()
        load_params(small.root / "params.yaml")  # what `-S` wrote is known and in range
    assert failed == {}


def went_well(line: str, small: Small) -> bool:
    """Run it; one of DVC's alone in this process, which saves its start."""
    first, *words = shlex.split(line)
    if first == "dvc" and "&&" not in words:
        return dvc_main(words) == 0
    return subprocess.run(["bash", "-c", line], cwd=small.root, env=small.environment, check=False).returncode == 0


def test_the_tracking_server_answers(small: Small) -> None:
    with socket.socket() as probe:
        if not probe.connect_ex(("127.0.0.1", 5000)):
            pytest.skip("something listens at port 5000, which `make ui` takes")
    with (small.root / "ui.log").open("wb") as log:
        streams: dict[str, Any] = {"stdout": log, "stderr": log, "start_new_session": True}
        process = subprocess.Popen(["bash", "-c", SERVER], cwd=small.root, env=small.environment, **streams)
    try:
        deadline = time.monotonic() + 900
        while not answers("http://127.0.0.1:5000/health"):
            assert process.poll() is None, (small.root / "ui.log").read_text()
            assert time.monotonic() < deadline, (small.root / "ui.log").read_text()
            time.sleep(0.2)
        assert "MLflow's page: http://127.0.0.1:5000/#/experiments" in (small.root / "ui.log").read_text()
        ran = commands_in(process.pid)
        assert [line for line in ran if "--workers 1 " in line]  # of several, those slow to start would be ended
        assert not [line for line in ran if "huey" in line or "job_runner" in line]
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def commands_in(group: int) -> list[str]:
    """Command lines of a process group."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(ProcessLookupError):  # it has ended meanwhile
            if os.getpgid(process.pid) == group:
                found.append(" ".join(process.info["cmdline"] or []))
    return found


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
