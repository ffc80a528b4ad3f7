import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from yoloslim import __version__
from yoloslim.cli import app, main
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.errors import DeployError, ModelError, PruneError
from yoloslim.models.detector import build_detector, count_params
from yoloslim.models.store import load_model, save_model

runner = CliRunner()


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = build_detector("yolov5n", ("cat", "dog"), imgsz=64)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.001, 1.0)
    path = tmp_path / "sparse.safetensors"
    save_model(model, path)
    return path


@pytest.mark.parametrize("words", [["compile", "x", "--out", ""], ["detect", "m", "i", "--out="], ["inspect", ""]])
def test_empty_words_are_refused(words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["yoloslim", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    given = "an argument is empty" if words[0] == "inspect" else "--out is given an empty value"
    assert str(stopped.value) == f"error: {given}; is a variable of your shell unset? Give a value, or leave it out"
    assert not list(tmp_path.iterdir())


def test_inspect_shows_size_scopes_and_layers(stored: Path) -> None:
    result = runner.invoke(app, ["inspect", str(stored), "--layers"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "yolov5n: 2 classes, 64 px, 1.767 M parameters" in result.output
    for text in ("source", "slim", "free", "coupled", "model.2.m.0.cv1.bn", "sparse enough for about"):
        assert text in result.output
    assert "baseline.weights takes this model" in " ".join(result.output.split())
    assert "penalty has hardly worked" not in result.output  # nobody has trained with one


def test_prune_writes_a_smaller_model_that_loads_and_its_report(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.safetensors"
    result = runner.invoke(
        app, ["prune", str(stored), "--percent", "50", "--scope", "coupled", "--round-to", "8", "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    small, dense = load_model(out), load_model(stored)
    assert count_params(small) < 0.6 * count_params(dense)
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["requested_percent"] == 50
    assert report["certificate"]["max_cut"] < 1e-4
    assert [head.shape for head in small(torch.zeros(1, 3, 64, 64))] == [
        head.shape for head in dense(torch.zeros(1, 3, 64, 64))
    ]


@pytest.mark.parametrize(("percent", "error"), [("100", PruneError), ("-5", PruneError), ("nan", PruneError)])
def test_prune_refuses_percents_out_of_range(stored: Path, percent: str, error: type[Exception]) -> None:
    result = runner.invoke(app, ["prune", str(stored), f"--percent={percent}"])
    assert isinstance(result.exception, error)
    assert "percent" in str(result.exception)
    assert "100" in str(result.exception)


def test_prune_95_percent_clips_and_still_runs(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.safetensors"
    result = runner.invoke(app, ["prune", str(stored), "--percent", "95", "--scope", "source", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert all(torch.isfinite(head).all() for head in load_model(out)(torch.rand(1, 3, 64, 64)))


def test_prune_says_why_less_went_than_was_asked_for(tmp_path: Path) -> None:
    save_model(build_detector("yolov5n", ("cat",), imgsz=64), tmp_path / "fresh.safetensors")  # all scales are 1
    result = runner.invoke(app, ["prune", str(tmp_path / "fresh.safetensors")])
    assert result.exit_code == 0, result.output
    assert "0.0 % of prunable channels removed" in result.output
    assert "that is less than 50 %: channels of equal scores are not told apart" in result.output


def test_prune_says_what_it_did_to_a_network_that_was_never_sparsified(stored: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["prune", str(stored), "--percent", "60"])
    assert result.exit_code == 0, result.output
    assert "% of the sum of all scales: these channels were in use" in result.output
    assert f"yoloslim train DATA --model {stored.with_name('sparse-pruned.safetensors')}" in result.output
    model = load_model(stored)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data[: len(module.weight) * 2 // 3] = 1e-5
    save_model(model, tmp_path / "silent.safetensors")
    result = runner.invoke(app, ["prune", str(tmp_path / "silent.safetensors"), "--percent", "50"])
    assert result.exit_code == 0, result.output
    assert "in use" not in result.output


@pytest.mark.parametrize("words", [["inspect"], ["prune", "--percent", "20"]])
def test_commands_take_files_of_other_programs(
    words: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    torch.save({"model": build_detector("yolov5n", ("cat", "dog"), imgsz=64).state_dict()}, tmp_path / "theirs.pt")
    result = runner.invoke(app, [words[0], str(tmp_path / "theirs.pt"), *words[1:]])
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'theirs.pt'}: imported as yolov5n, 2 classes, 640 px" in caplog.text
    predictor = open_predictor(tmp_path / "theirs.pt")
    assert (predictor.imgsz, predictor.backend) == (640, "pytorch-cpu")
    graph = tmp_path / "theirs.onnx"
    graph.touch()
    with pytest.raises(ModelError, match="is an exported graph; give the model file that it was made from"):
        runner.invoke(app, [words[0], str(graph)], catch_exceptions=False)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    result = runner.invoke(app, ["inspect", str(tmp_path / "none.safetensors")])
    assert isinstance(result.exception, ModelError)
    assert "none.safetensors is missing" in str(result.exception)


@pytest.mark.parametrize("words", [["inspect"], ["compile"], ["data", "check"], ["init"]])
def test_names_that_no_file_can_have_are_said(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # `data check` leaves a page
    monkeypatch.setattr(sys, "argv", ["yoloslim", *words, "x" * 3000])
    with pytest.raises(SystemExit) as end:
        main()
    assert "File name too long" in str(end.value)
    assert str(end.value).startswith("error: ")


def test_a_device_is_no_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["yoloslim", "data", "check", "/dev/zero"])
    with pytest.raises(SystemExit, match="is a pipe or a device, and no folder or archive"):
        main()


def test_errors_reach_the_terminal_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "yoloslim.cli", "inspect", str(tmp_path / "none.safetensors")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: model file")
    assert "Traceback" not in done.stderr


def test_import_turns_a_state_dict_into_a_model_for_other_classes(tmp_path: Path) -> None:
    torch.save(build_detector("yolov5n", ("cat", "dog", "hen")).half().state_dict(), tmp_path / "public.pt")
    out = tmp_path / "m.safetensors"
    done = runner.invoke(
        app, ["import", str(tmp_path / "public.pt"), "--classes", "a,b", "--model", "yolov5n", "--out", f"{tmp_path}/m"]
    )
    assert done.exit_code == 0, done.output
    assert f"{out}: yolov5n, 2 classes (a, b), 640 px, 1.767 M parameters" in done.output.replace("\n", "")
    assert load_model(out).spec.classes == ("a", "b")


def test_darknet_files_go_out_and_come_in_again(tmp_path: Path) -> None:
    model = build_detector("yolov4-tiny", ("cat", "dog"), 64)
    save_model(model, tmp_path / "m.safetensors")
    done = runner.invoke(app, ["export-darknet", str(tmp_path / "m.safetensors")])
    assert done.exit_code == 0, done.output
    assert done.output.split() == [str(tmp_path / f"m.{suffix}") for suffix in ("cfg", "weights", "names")]
    done = runner.invoke(app, ["import", str(tmp_path / "m.cfg")])
    assert done.exit_code == 0, done.output
    found = load_model(tmp_path / "m-imported.safetensors")
    assert found.spec == model.spec
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in found.state_dict().items())


def test_models_lists_what_can_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yoloslim.models.zoo.model_names", lambda: ["yolov5n", "v5Lite-e"])  # the others take seconds
    result = runner.invoke(app, ["models", "--classes", "20"])
    assert result.exit_code == 0
    rows = [line.split() for line in result.output.splitlines()]
    assert next(row for row in rows if row[:1] == ["yolov5n"])[:3] == ["yolov5n", "1.79", "M"]
    assert next(row for row in rows if row[:1] == ["v5Lite-e"])[:3] == ["v5Lite-e", "0.73", "M"]


def test_export_and_quantize_write_folders_that_open(stored: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["export", str(stored)])
    assert result.exit_code == 0, result.output
    assert result.output.endswith(f"{tmp_path / 'sparse-onnx'}: model.onnx\n")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        Image.new("L" if number else "CMYK", (40, 30), number * 80).save(pictures / f"{number}.jpg")
    result = runner.invoke(app, ["quantize", str(tmp_path / "sparse-onnx"), str(pictures)])
    assert result.exit_code == 0, result.output
    assert open_predictor(tmp_path / "sparse-onnx-int8-onnxruntime").backend == "onnxruntime-cpu-int8"


def test_an_exported_file_is_not_exported_again(stored: Path, tmp_path: Path) -> None:
    runner.invoke(app, ["export", str(stored), "--out", str(tmp_path / "a")])
    result = runner.invoke(app, ["export", str(tmp_path / "a/model.onnx")])
    assert "`--like MODEL` takes in an" in str(result.exception)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--conf-thres", "0.3"], "--conf-thres does nothing with --outputs raw; --outputs nms takes it"),
        (["--outputs", "end2end", "--iou-thres", "0.5"], "--iou-thres does nothing with --outputs end2end"),
        (["--like", "m.safetensors", "--format", "ncnn"], "--format does nothing beside --like"),
    ],
)
def test_export_refuses_options_that_would_do_nothing(stored: Path, words: list[str], message: str) -> None:
    assert message in str(runner.invoke(app, ["export", str(stored), *words]).exception)


def test_export_of_a_wrong_request_says_the_way_out(stored: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["export", str(stored), "--opset", "9"])
    assert isinstance(result.exception, DeployError)
    assert "opset 9 cannot be written; choose 11 to 18" in str(result.exception)
    assert not (tmp_path / "sparse-onnx").exists()


def test_sweep_outside_the_project_says_where_to_run_it(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    source = str(Path(__file__).parents[1] / "src")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "yoloslim.cli", "sweep"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": source},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "cannot read params.yaml: No such file or directory; run from the project's folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_module_is_the_command_and_tells_its_version() -> None:
    done = subprocess.run([sys.executable, "-m", "yoloslim", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout == f"yoloslim {__version__}\n"


def test_shells_are_offered_completion() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "yoloslim"],
        env=os.environ | {"_YOLOSLIM_COMPLETE": "complete_bash", "COMP_WORDS": "yoloslim insp", "COMP_CWORD": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["inspect"]


def test_prune_takes_a_percent_or_a_target(stored: Path) -> None:
    result = runner.invoke(app, ["prune", str(stored), "--percent", "50", "--target-params-m", "1"])
    assert "percent and target_params_m are given at once; keep one of them" in str(result.exception)
    result = runner.invoke(app, ["prune", str(stored), "--target-params-m", "1", "--round-to", "1"])
    assert result.exit_code == 0, result.output


def test_prune_by_half_a_percent_says_what_is_meant(stored: Path) -> None:
    result = runner.invoke(app, ["prune", str(stored), "--percent", "0.5"])
    assert "percent=0.5 is less than one channel in a hundred; for 50% write 50" in str(result.exception)


@pytest.mark.parametrize("words", [["--help"], ["prune", "--help"], ["prune", "--percnt", "5"], ["data", "--help"]])
def test_help_and_wrong_options_import_nothing_heavy(words: list[str]) -> None:
    heavy = ["torch", "cv2", "numpy", "mlflow", "prefect", "onnx", "onnxruntime", "asyncssh", "dvc"]
    program = f"""
import sys
from yoloslim.cli import main
sys.argv = ["yoloslim", *{words!r}]
try:
    main()
except SystemExit:
    pass
print("loaded:", sorted(set({heavy!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_options_of_compile_are_by_default_those_of_params() -> None:
    from inspect import signature

    from yoloslim.config.deploy import AtcParams
    from yoloslim.tasks.compile import compile_export

    defaults, options = AtcParams(), signature(compile_export).parameters
    for name in ("soc_version", "precision_mode", "enable_small_channel", "timeout_s"):
        assert options[name].default == getattr(defaults, name)
