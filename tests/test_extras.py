"""Packages that are not installed: every command says what to type, and none ends in a traceback."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from yoloslim.extras import EXTRAS, advice, is_installed, or_advice

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def without(packages: str, *words: str, cwd: Path) -> tuple[int, str]:
    """A command in an installation that lacks some packages: exit status and all it says."""
    code = "import sys, runpy; sys.modules |= dict.fromkeys({!r}.split()); sys.argv = {!r}; "
    text = f"{code}runpy.run_module({{!r}}, {{{{}}}}, '__main__')".format(packages, list(words), words[0])
    done = subprocess.run([sys.executable, "-c", text], cwd=cwd, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extras") / "p"
    done = subprocess.run([sys.executable, "-m", "yoloslim", "init", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "words", "said"),
    [
        ("prefect", "yoloslim sweep", "pip install 'yoloslim[prefect]'; or go without"),
        ("prefect", "flows.pipeline", "needs the package prefect, which is not installed"),
        ("prefect", "flows.nightly", "pip install 'yoloslim[prefect]'"),
        ("prefect", "flows.schedule serve", "pip install 'yoloslim[prefect]'"),
        ("prefect", "flows.schedule deploy", "pip install 'yoloslim[prefect]'"),
        ("dvc", "yoloslim sweep", "DVC is not installed, and the points of a sweep are its stages; pip"),
        ("dvc", "yoloslim init other", "DVC is not installed, and a project's stages are run by it"),
        ("prefect_dask", "yoloslim sweep runner=dask", "is dask, which needs `pip install 'yoloslim[dask]'`"),
        ("ray", "yoloslim sweep runner=ray", "sweep.runner is ray, which needs `pip install 'yoloslim[ray]'`"),
        ("cv2", "yoloslim data check .", "needs the package cv2, which is not installed"),
    ],
)  # fmt: skip
def test_a_command_says_what_to_install(project: Path, missing: str, words: str, said: str) -> None:
    status, output = without(missing, *words.split(), cwd=project)
    assert status == 1, output
    assert said in output
    assert not (project / "other").exists()


@pytest.mark.slow
def test_without_mlflow_nothing_but_the_log_is_lost(project: Path) -> None:
    status, output = without("mlflow", "pipeline.track", cwd=project)
    assert status == os.EX_TEMPFAIL  # what was asked for is not done, and can be once it is there
    assert "MLflow is not installed (pip install yoloslim mlflow), so nothing is logged; nothing is lost" in output


def test_a_fault_of_ours_is_no_missing_package() -> None:
    with pytest.raises(ModuleNotFoundError), or_advice():
        import yoloslim.nothing  # type: ignore[import-not-found]  # noqa: F401
    said = "needs the package nowhere, which is not installed: pip install yoloslim nowhere"
    with pytest.raises(SystemExit, match=said), or_advice():
        import nowhere.inside  # type: ignore[import-not-found]  # noqa: F401
    assert is_installed("numpy")
    assert not is_installed("nowhere")


def test_every_extra_that_is_told_exists_and_brings_the_package() -> None:
    extras = PYPROJECT["optional-dependencies"]
    for package, extra in EXTRAS.items():
        brought = " ".join(extras[extra])
        assert package.replace("_", "-").removesuffix("-binary") in brought.replace("distributed", "distributed dask")
    told = re.findall(r"yoloslim\[(\w+)\]", "".join(p.read_text() for p in (ROOT / "src").rglob("*.py")))
    assert set(told) <= set(extras)
    assert advice("nncf") == "pip install 'yoloslim[runtimes]'"
