"""No name of a description runs: refused where it comes in, and quoted where it would go out all the same."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from tests import hostile
from tests.tiny import tiny_detector, tiny_spec
from yoloslim.cli import app
from yoloslim.deploy.ascend.atc import AtcOptions, atc_arguments, compile_model
from yoloslim.deploy.board.device import Local
from yoloslim.deploy.board.job import Job, prepare_job
from yoloslim.deploy.board.remote import Board
from yoloslim.deploy.board.target import SshTarget
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.manifest import Manifest, load_manifest
from yoloslim.deploy.quoting import one_line, quote
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.files import sha256_file
from yoloslim.models.spec import ModelSpec
from yoloslim.runner.names import is_plain, is_plain_path

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    export_model(tiny_detector(), folder)
    return folder


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    """A folder with stand-ins, called fakes, that write down what they are given and do nothing else."""
    folder = tmp_path / "sandbox"
    (folder / "bin").mkdir(parents=True)
    for name in ("atc", "python3"):
        fake = folder / "bin" / name
        fake.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" >"{folder}/{name}.argv"\necho FAKE >model.om\n')
        fake.chmod(0o755)
    return folder


def bash(sandbox: Path, *command: str) -> "subprocess.CompletedProcess[bytes]":
    environment = {"PATH": f"{sandbox}/bin:/usr/bin:/bin", "HOME": str(sandbox)}
    done = subprocess.run(["bash", *command], cwd=sandbox, env=environment, capture_output=True, check=False)
    assert [path for path in sandbox.parent.rglob("*") if path.name.startswith("PWNED")] == []
    return done


def given(sandbox: Path, name: str) -> list[str]:
    return (sandbox / f"{name}.argv").read_bytes().decode().split("\0")[:-1]


def unchecked(manifest: Manifest, **changes: Any) -> Manifest:
    """A manifest as if nothing had looked at its names."""
    return manifest.model_copy(update=changes)


@pytest.mark.parametrize("name", hostile.NAMES)
def test_no_hostile_name_is_plain(name: str) -> None:
    assert not is_plain(name)
    assert name == "a/b" or not is_plain_path(name)


@pytest.mark.parametrize("name", ["model.onnx", "model.ncnn.param", "input.1", "head_p3", "7", "_x-1"])
def test_the_names_in_use_are_plain(name: str) -> None:
    assert is_plain(name)


@pytest.mark.parametrize("place", ["files", "input_name", "heads"])
def test_a_manifest_with_a_hostile_name_is_refused_with_a_sentence(exported: Path, tmp_path: Path, place: str) -> None:
    content = json.loads((exported / "manifest.json").read_text())
    for name in hostile.NAMES:
        head = {**content["heads"][0], "name": name}
        changed = {"files": {name: "0" * 64}, "heads": [head, *content["heads"][1:]]}.get(place, name)
        (tmp_path / "manifest.json").write_text(json.dumps({**content, place: changed}))
        result = CliRunner().invoke(app, ["compile", str(tmp_path), "--out", str(tmp_path / "out")])
        said = result.output + str(result.exception)
        assert result.exit_code == 1
        assert "is not a valid manifest" in said
        assert "is not a plain name" in said
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [name for name in hostile.NAMES if name.strip(".") and "/" not in name])
def test_no_name_runs_when_the_script_runs(
    exported: Path, sandbox: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = load_manifest(exported)
    heads = tuple(head.model_copy(update={"name": name}) for head in sound.heads)
    manifest = unchecked(sound, files={name: sound.sha256}, input_name=name, heads=heads)
    export, out = sandbox / "export", sandbox / "out"
    export.mkdir()
    try:
        (export / name).write_bytes((exported / "model.onnx").read_bytes())
    except OSError:
        pytest.skip("this file system has no such name")
    (export / "manifest.json").write_text("{}")
    monkeypatch.setattr("yoloslim.deploy.ascend.atc.load_manifest", lambda folder: manifest)
    options = AtcOptions(soc_version=f"Ascend310{name}", precision_mode=name)
    compile_model(export, out, options)
    done = bash(sandbox, str(out / "atc.sh"))
    if done.returncode == 0:  # sha256sum takes lists of names with line breaks for damaged, which is as good
        assert given(sandbox, "atc") == atc_arguments(manifest, options)
        assert (out / "model.om").read_text() == "FAKE\n"
    else:
        assert "\n" in name or "\r" in name or "\\" in name, done.stderr


@pytest.mark.parametrize("name", hostile.NAMES)
def test_no_name_runs_on_a_board(sandbox: Path, name: str) -> None:
    board = Board(SshTarget("board"), python=name)
    assert bash(sandbox, "-c", board._command(name, "job", ".")).returncode != 0  # there is no such interpreter
    script = sandbox / "set_env.sh"
    script.write_text("true\n")
    folder = sandbox / (name.replace("/", "_").strip(".") or "x")
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        pytest.skip("this file system has no such name")
    done = bash(sandbox, "-c", Board(SshTarget("board"), str(script))._command(str(folder), "job", "."))
    assert done.returncode == 0, done.stderr
    assert given(sandbox, "python3") == ["runner.pyz", "job", "."]
    done = bash(sandbox, "-c", Board(SshTarget("board"), f"missing/{name}")._command(".", "probe"))
    assert done.returncode == 1
    assert done.stderr == f"missing/{name} is missing: ascend.set_env\n".encode()


@pytest.mark.parametrize("name", hostile.NAMES)
def test_no_name_runs_on_this_machine(sandbox: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sandbox)
    with pytest.raises(DeployError, match=r"\(ascend\.set_env\) is missing"):
        Local(f"{name}/missing").probe()
    assert not list(sandbox.parent.rglob("PWNED*"))


@pytest.fixture(scope="module")
def bundle(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)
        compile_model(exported, folder)
    return folder


def job_of(bundle: Path, folder: Path, name: str = "a") -> Job:
    return prepare_job(bundle, folder, [name], np.zeros((1, 64, 64, 3), np.uint8), NmsOptions(), "onnxruntime")


@pytest.mark.parametrize("key", ["graph", "input_name", "outputs", "files"])
def test_a_bundle_with_a_hostile_name_is_not_sent(bundle: Path, tmp_path: Path, key: str) -> None:
    facts = json.loads((bundle / "bundle.json").read_text())
    for name in hostile.NAMES:
        if (name, key) == ("a/b", "files"):
            continue  # files below a folder of the bundle are in order
        changed = {"outputs": [{"name": name, "shape": [1]}], "files": {name: "0" * 64}}.get(key, name)
        (tmp_path / "bundle.json").write_text(json.dumps({**facts, key: changed}))
        with pytest.raises(DeployError, match="is not a plain name"):
            job_of(tmp_path, tmp_path)


@pytest.mark.parametrize("name", hostile.LINE_BREAKS)
def test_no_class_breaks_a_list_of_names(exported: Path, name: str) -> None:
    with pytest.raises(ValidationError, match="line break or another control character"):
        ModelSpec(**{**tiny_spec().model_dump(), "classes": ("a", name)})
    content = json.loads((exported / "manifest.json").read_text())
    with pytest.raises(ValidationError, match="line break or another control character"):
        Manifest.model_validate({**content, "classes": ["a", name]})


@pytest.mark.parametrize("name", ["traffic light", "Straße", "犬\u3000小", "no\u00a0break", "a/b", "👩\u200d🚒"])
def test_people_may_call_classes_what_they_like(name: str) -> None:
    assert ModelSpec(**{**tiny_spec().model_dump(), "classes": ("a", name)}).classes == ("a", name)


@pytest.mark.parametrize("name", hostile.NAMES)
def test_bash_reads_back_what_was_quoted(sandbox: Path, name: str) -> None:
    bash(sandbox, "-c", quote("python3", name, name) + f"  # {one_line(name)}")
    assert given(sandbox, "python3") == [name, name]


def test_what_no_command_can_hold_is_refused() -> None:
    with pytest.raises(DeployError, match="NUL"):
        quote("a", "b\0c")


def test_words_become_commands_in_one_place_only() -> None:
    sources = [path for folder in ("src", "pipeline", "flows", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    shell = re.compile(r"\bshlex\b|shell=True|\bos\.(system|popen)\b|\bgetoutput\b")
    found = {str(path.relative_to(ROOT)) for path in sources if shell.search(path.read_text())}
    assert found == {"src/yoloslim/deploy/quoting.py"}


def test_a_job_names_no_file_elsewhere(bundle: Path, tmp_path: Path) -> None:
    job = job_of(bundle, tmp_path, "../a")
    assert all(is_plain(name) for name in job.files)
    assert job.checksums["job.json"] == sha256_file(tmp_path / "job.json")
