"""`yoloslim compile` without a compiler: the bundle, and what is refused."""

import errno
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tiny import tiny_detector
from yoloslim.cli import app
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.foreign import import_onnx
from yoloslim.deploy.manifest import Manifest, load_manifest, save_manifest
from yoloslim.deploy.onnx import ExportOptions
from yoloslim.terminal import sentence


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compile") / "export"
    export_model(tiny_detector(), folder, ExportOptions(batch=0))
    return folder


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["compile", *map(str, arguments)])
    return result.exit_code, result.output + str(result.exception or "")


def test_the_bundle_is_written_with_every_option(export: Path, tmp_path: Path) -> None:
    chosen = ["--soc-version", "Ascend310P3", "--aipp-input", "rgb", "--precision-mode", "force_fp32"]
    more = ["--batch-gear", "1", "--batch-gear", "4", "--no-enable-small-channel", "--timeout-s", "60"]
    status, output = run(export, "--out", tmp_path, *chosen, *more)
    assert (status, output) == (0, f"{tmp_path}: not compiled yet, atc.sh does it, for Ascend310P3\n")
    argv = json.loads((tmp_path / "atc.json").read_text())["argv"]
    assert {"--soc_version=Ascend310P3", "--precision_mode=force_fp32", "--enable_small_channel=0"} < set(argv)
    assert "--dynamic_batch_size=1,4" in argv
    assert "--out_nodes=head_p3:0;head_p4:0;head_p5:0" in argv
    assert "input_format: RGB888_U8" in (tmp_path / "aipp.cfg").read_text()
    assert (tmp_path / "run.sh").is_file()


def test_an_adopted_file_is_compiled_beside_its_folder(export: Path, tmp_path: Path) -> None:
    export_model(tiny_detector(), tmp_path / "theirs")
    import_onnx(tmp_path / "theirs/model.onnx", export, tmp_path / "adopted")
    status, output = run(tmp_path / "adopted")
    assert status == 0, output
    assert json.loads((tmp_path / "adopted-ascend/bundle.json").read_text())["soc_version"] == "Ascend310"


def test_what_atc_cannot_use_is_refused(export: Path, tmp_path: Path) -> None:
    def check(manifest: Manifest, held: str) -> None:
        save_manifest(manifest, tmp_path)
        status, output = run(tmp_path, "--out", tmp_path / "out")
        assert status == 1
        assert f"{tmp_path} holds {held}; Ascend's compiler takes onnx, raw, fp32" in output
        assert not (tmp_path / "out").exists()

    plain = load_manifest(export)
    (tmp_path / "model.onnx").write_bytes((export / "model.onnx").read_bytes())
    check(plain.model_copy(update={"outputs": "nms", "heads": ()}), "onnx, nms, fp32")
    check(plain.model_copy(update={"precision": "int8"}), "onnx, raw, int8")
    check(plain.model_copy(update={"format": "openvino"}), "openvino, raw, fp32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--soc-version", "310"], "atc.soc_version"),
        (["--batch-gear", "0", "--batch-gear", "4"], "atc.batch_gears"),
        (["--batch-gear", "4"], "give 2 to 100 different batch sizes"),
        (["--timeout-s", "0"], "atc.timeout_s"),
        (["--precision-mode", "int8"], "'force_fp16'"),
        (["--require"], "atc is not on the PATH"),
        (["--count", "8"], "--count is for a chip of Rockchip: name it, --target rk3588"),
        (["--target", "rk3588", "--aipp-input", "rgb"], "--aipp-input is for Ascend, and --target rk3588 is of Rock"),
        (["--target", "rk3588", "--require"], "--require is for Ascend"),
        (["--target", "rk3588", "--images", "x"], "--images is for --precision int8 or hybrid"),
        (["--target", "rk3588", "--precision", "int8", "--hybrid-share", "0.2"], "--hybrid-share is for --precision h"),
    ],
)
def test_wrong_options_are_named(export: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    status, output = run(export, "--out", tmp_path / "out", *arguments)
    assert status != 0
    assert message in output
    assert not (tmp_path / "out").exists()


def test_a_compiled_model_that_was_asked_for_and_not_taken_is_an_error(export: Path, tmp_path: Path) -> None:
    status, output = run(export, "--out", tmp_path / "out", "--compiled", tmp_path / "nowhere")
    assert status == 1
    assert f"{tmp_path / 'nowhere'} was not taken, as told above; {tmp_path / 'out'} holds the bundle" in output


def test_a_folder_of_other_things_is_not_replaced(tmp_path: Path) -> None:
    export_model(tiny_detector(), tmp_path / "one")
    (tmp_path / "notes.txt").write_text("mine")
    status, output = run(tmp_path / "one", "--out", tmp_path, "--target", "rk3588")
    assert status == 1
    assert f"{tmp_path} holds notes.txt, and no compiled model to replace; name a folder that is new or em" in output
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_file_where_a_folder_should_be_is_a_sentence(export: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    _, output = run(export, "--out", tmp_path / "file")
    assert sentence(FileExistsError(errno.EEXIST, "File exists", "file")) == "file: File exists; check the name"
    assert "File exists" in output
