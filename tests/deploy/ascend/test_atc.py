import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.deploy.models import tiny_detector
from yoloslim.deploy.ascend.atc import AtcOptions, atc_arguments, compile_model, load_result
from yoloslim.deploy.ascend.cann import find_cann
from yoloslim.deploy.ascend.codes import CAUSES, AtcError, parse_codes
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.manifest import load_manifest
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.errors import DeployError, YoloslimError

FAKE = Path(__file__).with_name("fake_atc.py")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    export_model(tiny_detector(), folder)
    return folder


@pytest.fixture
def no_atc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.fixture
def fake_atc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Puts the fake on the PATH, in a folder with a space in its name."""
    folder = tmp_path / "fake bin"
    folder.mkdir()
    program = folder / "atc"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return program


def test_arguments_come_from_the_manifest(exported: Path) -> None:
    arguments = atc_arguments(load_manifest(exported), AtcOptions(soc_version="Ascend310B4"))
    assert arguments == [
        "--model=model.onnx",
        "--framework=5",
        "--output=model",
        "--input_format=NCHW",
        "--input_shape=images:1,3,64,64",
        "--enable_small_channel=1",
        "--insert_op_conf=aipp.cfg",
        "--precision_mode=force_fp16",
        "--soc_version=Ascend310B4",
        "--out_nodes=head_p3:0;head_p4:0;head_p5:0",
        "--log=error",
    ]


@pytest.mark.usefixtures("no_atc")
def test_without_atc_the_result_says_so_and_holds_the_command(
    exported: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = compile_model(exported, tmp_path / "out")
    assert (result.state, result.om, result.log) == ("not_available", None, None)
    assert result.argv[0] == "atc"
    assert "atc is not on the PATH" in caplog.text
    assert load_result(tmp_path / "out") == result
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *("aipp.cfg", "atc.json", "atc.sh", "bundle.json", "manifest.json", "mindx", "model.onnx"),
        *("run.sh", "runner.pyz"),
    ]


@pytest.mark.usefixtures("no_atc")
def test_without_atc_and_required_is_an_error(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=r"\(ascend\.require, --require, or a latency on ascend\), but atc.*CANN"):
        compile_model(exported, tmp_path / "out", require=True)
    assert not (tmp_path / "out").exists()


def test_an_installed_but_unsourced_toolkit_is_found_and_used(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_atc: Path
) -> None:
    home = tmp_path / "Ascend/ascend-toolkit"
    (home / "latest/x86_64-linux").mkdir(parents=True)
    (home / "latest/x86_64-linux/ascend_toolkit_install.info").write_text("package_name=x\nversion=5.0.4\n")
    (home / "set_env.sh").write_text(
        f'export PATH="{fake_atc.parent}:$PATH"\nexport ASCEND_TOOLKIT_HOME="{home}/latest"\necho "chatter"\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    found = find_cann()
    assert found is not None
    assert (found.atc, found.set_env, found.version) == (fake_atc, home / "set_env.sh", "5.0.4")
    result = compile_model(exported, tmp_path / "out", require=True)
    assert (result.state, result.cann_version) == ("compiled", "5.0.4")


def test_a_runtime_that_cannot_compile_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "Ascend/nnrt").mkdir(parents=True)
    (tmp_path / "Ascend/nnrt/set_env.sh").write_text("export ASCEND_HOME_PATH=/nowhere\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find_cann() is None
    assert "the runtime alone cannot compile" in caplog.text


def test_batch_gears_need_an_open_batch(exported: Path) -> None:
    manifest = load_manifest(exported)
    with pytest.raises(DeployError, match=r"fixed at 1; export it again with export\.batch=0"):
        atc_arguments(manifest, AtcOptions(batch_gears=(1, 4)))
    opened = manifest.model_copy(update={"input_shape": (-1, 3, 64, 64)})
    arguments = atc_arguments(opened, AtcOptions(batch_gears=(4, 1)))
    assert "--dynamic_batch_size=1,4" in arguments
    assert "--input_shape=images:-1,3,64,64" in arguments
    assert "--input_shape=images:1,3,64,64" in atc_arguments(opened, AtcOptions())
    four = manifest.model_copy(update={"input_shape": (4, 3, 64, 64)})
    assert "--input_shape=images:4,3,64,64" in atc_arguments(four, AtcOptions())
    for gears in ((4,), (1, 1), (0, 2), tuple(range(1, 102))):
        with pytest.raises(DeployError, match="2 to 100 different"):
            atc_arguments(opened, AtcOptions(batch_gears=gears))


def test_operators_that_the_check_report_refuses_are_named(exported: Path, tmp_path: Path, fake_atc: Path) -> None:
    report = (
        '{"op": [{"name": "a", "type": "ai.onnx::13::Resize", "result": "failed", '
        '"cause": [{"code": 16, "message": "mode cubic"}]}, {"name": "b", "type": "Conv", "result": "success"}]}'
    )
    fake_atc.write_text(f"#!/bin/sh\necho '{report}' > check_result.json\necho 'ATC run failed'\nexit 1\n")
    with pytest.raises(AtcError, match=r"Operators it refused: ai.onnx::13::Resize \(mode cubic\)\."):
        compile_model(exported, tmp_path / "out")


def test_with_atc_the_model_is_compiled(exported: Path, tmp_path: Path, fake_atc: Path) -> None:
    found = find_cann()
    assert found is not None
    assert found.atc == fake_atc
    result = compile_model(exported, tmp_path / "out", require=True)
    assert (result.state, result.om, result.log) == ("compiled", "model.om", "atc.log")
    assert (tmp_path / "out/model.om").read_bytes().startswith(b"FAKE OM ")
    assert stat.S_IMODE((tmp_path / "out/model.om").stat().st_mode) == 0o640  # MindX refuses others
    assert [code.code for code in result.codes] == ["W11001"]
    assert "high-priority" in result.codes[0].message
    assert load_result(tmp_path / "out") == result


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("crash", "exit code 139.*Segmentation fault"),
        ("silent", "never printed 'ATC run success'"),
        ("no-file", "model.om is missing or empty"),
        ("empty-file", "model.om is missing or empty"),
        ("old-file", "older than this run"),
        ("unknown-code", "EZ1234: something nobody has seen"),
    ],
)
def test_a_compilation_that_failed_is_never_a_result(
    exported: Path, tmp_path: Path, fake_atc: Path, monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    compile_model(exported, tmp_path / "out")  # an earlier success must not be taken for this one
    monkeypatch.setenv("FAKE_ATC", fault)
    with pytest.raises(AtcError, match=message) as caught:
        compile_model(exported, tmp_path / "out")
    assert "atc.log" in str(caught.value)
    assert (tmp_path / "out/atc.log").read_text().startswith("ATC start working")
    assert not (tmp_path / "out/model.om").exists()
    with pytest.raises(YoloslimError, match=r"atc\.json is missing"):
        load_result(tmp_path / "out")


def test_codes_of_a_failure_come_with_their_cause(exported: Path, tmp_path: Path, fake_atc: Path) -> None:
    with pytest.raises(AtcError, match=r"E10001.*Ascend999.*SoC name") as caught:
        compile_model(exported, tmp_path / "out", AtcOptions(soc_version="Ascend999"))
    assert [code.code for code in caught.value.codes] == ["E10001"]


def test_a_newer_opset_is_refused_with_the_way_out(tmp_path: Path, fake_atc: Path) -> None:
    export_model(tiny_detector(), tmp_path / "export", ExportOptions(opset=13))
    with pytest.raises(AtcError, match=r"E16002.*export\.opset=11"):
        compile_model(tmp_path / "export", tmp_path / "out")


def test_a_compilation_that_hangs_is_stopped(
    exported: Path, tmp_path: Path, fake_atc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_ATC", "hang")
    start = time.monotonic()
    with pytest.raises(AtcError, match=r"stopped after 1 s.*atc\.timeout_s"):
        compile_model(exported, tmp_path / "out", AtcOptions(timeout_s=1))
    assert time.monotonic() - start < 20


def test_an_atc_that_cannot_be_started_is_named(exported: Path, tmp_path: Path, fake_atc: Path) -> None:
    fake_atc.write_text("#!/no/such/interpreter\n")
    with pytest.raises(AtcError, match="atc cannot be started"):
        compile_model(exported, tmp_path / "out")


@pytest.mark.usefixtures("no_atc")
def test_a_changed_graph_is_refused(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "export")
    with (tmp_path / "export/model.onnx").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(DeployError, match="not the file"):
        compile_model(tmp_path / "export", tmp_path / "out")


def test_the_script_compiles_a_copied_folder_from_anywhere(
    exported: Path, tmp_path: Path, fake_atc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.environ["PATH"]
    monkeypatch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)
    compile_model(exported, tmp_path / "out")
    moved = tmp_path / "moved folder"
    (tmp_path / "out").rename(moved)
    done = subprocess.run([moved / "atc.sh"], cwd="/", env={"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    assert (moved / "model.om").read_bytes().startswith(b"FAKE OM ")


@pytest.fixture
def returned(exported: Path, tmp_path: Path, fake_atc: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that was written without atc, compiled by `bash atc.sh` elsewhere and copied back; atc is gone now."""
    path, folder = os.environ["PATH"], tmp_path / "back/50"
    monkeypatch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)
    compile_model(exported, folder)
    (folder / "atc.sh").chmod(0o644)  # as DVC restores it
    subprocess.run(["bash", "-c", "bash atc.sh"], cwd=folder, env={"PATH": path}, check=True)
    return folder


def test_a_model_compiled_elsewhere_comes_back(exported: Path, tmp_path: Path, returned: Path) -> None:
    result = compile_model(exported, tmp_path / "out", require=True, compiled=returned)
    om = tmp_path / "out/model.om"
    assert (result.state, result.om, result.log) == ("compiled", "model.om", None)
    assert om.read_bytes() == (returned / "model.om").read_bytes()
    assert stat.S_IMODE(om.stat().st_mode) == 0o640
    assert load_result(tmp_path / "out") == result
    packed = json.loads((tmp_path / "out/bundle.json").read_text())["files"]
    assert packed["model.om"] == result.om_sha256 == hashlib.sha256(om.read_bytes()).hexdigest()


def test_a_model_of_another_graph_or_of_other_options_is_not_taken(
    exported: Path, tmp_path: Path, returned: Path, caplog: pytest.LogCaptureFixture
) -> None:
    export_model(tiny_detector(seed=1), tmp_path / "other")
    for export, options in (
        (tmp_path / "other", AtcOptions()),
        (exported, AtcOptions(aipp_input="rgb")),
        (exported, AtcOptions(soc_version="Ascend310B4")),
    ):
        caplog.clear()
        result = compile_model(export, tmp_path / "out", options, compiled=returned)
        assert (result.state, result.om) == ("not_available", None)
        assert "is for another graph or other options and is not used" in caplog.text
    assert compile_model(exported, tmp_path / "out", compiled=tmp_path / "back/60").state == "not_available"
    assert f"{tmp_path}/back/60/model.om (ascend.compiled) is missing" in caplog.text
    with pytest.raises(DeployError, match=r"asked for \(ascend\.require"):
        compile_model(exported, tmp_path / "out", require=True, compiled=tmp_path / "back/60")
    (returned / "atc.json").unlink()
    assert compile_model(exported, tmp_path / "out", compiled=returned).state == "not_available"
    assert "atc.json (ascend.compiled) is missing: bring the whole folder back" in caplog.text


@pytest.mark.parametrize("data", [b"", b"FAKE OM, cut short"])
def test_a_model_that_came_back_damaged_is_refused(exported: Path, tmp_path: Path, returned: Path, data: bytes) -> None:
    (returned / "model.om").write_bytes(data)
    with pytest.raises(DeployError, match="empty or changed on its way"):
        compile_model(exported, tmp_path / "out", compiled=returned)


def test_a_model_that_came_back_is_not_written_over(exported: Path, returned: Path) -> None:
    with pytest.raises(DeployError, match="name another folder for the compiled one"):
        compile_model(exported, returned, compiled=returned)
    assert (returned / "model.om").stat().st_size > 0


def test_run_sh_checks_what_atc_sh_compiled(returned: Path) -> None:
    environment = os.environ | {"BACKEND": "onnxruntime", "PYTHON": sys.executable}
    command = ["bash", str(returned / "run.sh"), "nonsense"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "model.om" not in done.stderr
    (returned / "model.om").write_bytes(b"other")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "model.om is not what atc.sh compiled: copy the folder again" in done.stderr


def test_the_script_refuses_a_damaged_graph(exported: Path, tmp_path: Path, fake_atc: Path) -> None:
    compile_model(exported, tmp_path / "out")
    with (tmp_path / "out/model.onnx").open("ab") as stream:
        stream.write(b"x")
    done = subprocess.run([tmp_path / "out/atc.sh"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "model.onnx" in done.stderr + done.stdout


def test_the_script_without_atc_says_what_is_missing(exported: Path, tmp_path: Path) -> None:
    compile_model(exported, tmp_path / "out")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([tmp_path / "out/atc.sh"], env=environment, capture_output=True, text=True)
    assert done.returncode == 127
    assert "install the CANN toolkit" in done.stderr


def test_a_compiled_model_changed_later_is_refused(exported: Path, tmp_path: Path, fake_atc: Path) -> None:
    compile_model(exported, tmp_path / "out")
    (tmp_path / "out/model.om").write_bytes(b"other")
    with pytest.raises(DeployError, match="compile again"):
        load_result(tmp_path / "out")


def test_codes_of_old_and_new_versions_are_parsed() -> None:
    lines = [
        "ATC run failed",
        "E10016: Opname [x] specified\r",
        "EZ3002 Optype unsupported",
        "no code E10016: here",
        "W11001: slow",
    ]
    output = "\n".join(lines)
    codes = parse_codes(output)
    assert [(c.code, c.message) for c in codes] == [
        ("E10016", "Opname [x] specified"),
        ("EZ3002", "Optype unsupported"),
        ("W11001", "slow"),
    ]
    assert [c.is_error for c in codes] == [True, True, False]
    assert all(c.cause for c in codes)


def test_every_known_code_is_recognised() -> None:
    for code in CAUSES:
        assert [c.code for c in parse_codes(f"{code}: text")] == [code]
