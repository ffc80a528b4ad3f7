"""`yoloslim init`: a project by the wheel alone."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.project import TINY
from yoloslim.cli import app
from yoloslim.errors import ConfigError
from yoloslim.project import project_files

ROOT = Path(__file__).parents[1]


def test_a_project_is_the_files_of_this_repository(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", str(tmp_path / "p")])
    assert done.exit_code == 0, done.output
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    expected = {name for name in tracked if name.startswith(("pipeline/", "flows/"))}
    expected |= {"dvc.yaml", "params.yaml", "prefect.yaml", ".gitignore", ".dvcignore"}
    if (ROOT / ".git").exists():
        assert set(project_files()) == expected | {"README.md"}
    for name in expected:
        assert (tmp_path / "p" / name).read_bytes() == (ROOT / name).read_bytes(), name
    assert (tmp_path / "p/.dvc/config").read_bytes() == (ROOT / ".dvc/config").read_bytes()
    told = subprocess.run(["git", "status", "--short"], cwd=tmp_path / "p", check=True, capture_output=True, text=True)
    assert told.stdout == ""


@pytest.mark.parametrize("name", ["dvc.yaml", "params.yaml", "pipeline/prune.py"])
def test_what_is_there_is_not_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    done = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert isinstance(done.exception, ConfigError)
    assert f"{tmp_path} has {name} already, and nothing is overwritten; name another folder" in str(done.exception)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_readme_of_ones_own_stays(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    assert CliRunner().invoke(app, ["init", str(tmp_path)]).exit_code == 0
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.slow
def test_the_wheel_alone_starts_a_project_and_runs_it(tmp_path: Path) -> None:
    """From an sdist, so that both carry the files; installed beside the packages of this environment."""
    build = "from setuptools.build_meta import build_sdist; print(build_sdist({!r}))"
    subprocess.run([sys.executable, "-c", build.format(str(tmp_path))], cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path / "sdist", filter="data")
    source = next((tmp_path / "sdist").iterdir())
    build = "from setuptools.build_meta import build_wheel; print(build_wheel({!r}))"
    subprocess.run([sys.executable, "-c", build.format(str(tmp_path))], cwd=source, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    site = next((home / "lib").glob("python3.*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    inherited = [path for path in sys.path if path.endswith("site-packages")]
    (site / "inherited.pth").write_text("\n".join(inherited))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PATH": f"{home / 'bin'}{os.pathsep}{environment['PATH']}", "OMP_NUM_THREADS": "1"}

    def run(*words: str, cwd: Path = tmp_path) -> str:
        done = subprocess.run(
            [str(home / "bin/python"), "-m", *words],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=3600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("yoloslim", "init", "p")
    project = tmp_path / "p"
    params = yaml.safe_load((project / "params.yaml").read_text()) | {"imgsz": 64, "percents": [40]}
    for section, values in TINY.items():
        params[section] = params[section] | values
    params["quantize"]["models"] = params["export"]["formats"] = []
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    targets = ("measure_baseline", "prune@40")
    run("dvc", "repro", *targets, cwd=project)
    measured = {"data.json", "baseline.json", "ranking.json", "sparse.json", "unstructured.json"}
    assert {path.name for path in (project / "metrics").iterdir()} == measured
    assert ran(run("dvc", "repro", *targets, cwd=project)) == ["code"]
    edited = site / "yoloslim/pruning/surgery.py"
    edited.write_text(edited.read_text() + "\nOTHER = 1\n")  # as an upgrade does
    told = run("dvc", "repro", *targets, cwd=project)
    assert ran(told)[0] == "code"  # unstructured depends on none of the others: it may come first
    assert sorted(ran(told)) == [
        "code",
        "prune@40",
        "ranking",
        "unstructured",
    ]  # the same models: they are not measured again


def ran(told: str) -> list[str]:
    return [line.split("'")[1] for line in told.splitlines() if line.startswith("Running stage")]
