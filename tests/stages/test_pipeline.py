"""The whole pipeline through a real `dvc repro`, at a tiny scale, in a fresh repository."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.page_commands import typed_by
from tests.page_things import prepare, stand_in, toolchain_of
from tests.project import Project
from yoloslim.cli import app
from yoloslim.toolchains import state_of, toolchain_named

pytestmark = pytest.mark.slow

ACCURACY = {"map50", "map50_95", "map50_voc07", "precision", "recall"}
SPEED = {"latency_ms", "latency_p90_ms", "fps", "backend"}
UNTRACKED = {"tracking": {"enabled": False}}
"""A setting that no stage depends on: what is asked is which stages run, and MLflow takes half of the report's time."""
VOCABULARY = ACCURACY | SPEED | {"params_m", "gflops", "size_mb"}
BASELINE_STAGES = {
    *(
        "data",
        "baseline",
        "sparse",
        "ranking",
        "export_baseline",
        "atc_baseline",
        "ascend_eval_baseline",
        "unstructured",
        "timing",
        "champion",
        "report",
    ),
    *("listing", "measure_baseline"),
    *(
        f"{name}@dense"
        for name in ("control", "measure_control", "export_control", "atc_control", "ascend_eval_control")
    ),
}


def stages_of(percent: int) -> set[str]:
    names = ("prune", "finetune", "measure", "export", "atc", "ascend_eval")
    return {f"{name}@{percent}" for name in names}


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, set[str]]:
    project = Project(tmp_path_factory.mktemp("project"))
    ran = project.repro()
    project.commit()
    return project, ran


@pytest.fixture
def project(first_run: tuple[Project, set[str]]) -> Project:
    return first_run[0]


def test_every_stage_runs(first_run: tuple[Project, set[str]]) -> None:
    assert first_run[1] == BASELINE_STAGES | stages_of(40) | {"quantize@40", "measure_int8@40"}


def test_int8_versions_stand_beside_their_model(project: Project) -> None:
    metrics = project.json("metrics/quantize/40.json")
    assert {name: values["backend"] for name, values in metrics.items()} == {
        "onnxruntime": "onnxruntime-cpu-int8",
        "ncnn": "ncnn-cpu-int8",
    }
    for values in metrics.values():
        assert values.keys() >= ACCURACY | SPEED | {"size_mb", "speedup"}
    report = (project.root / "report" / "report.md").read_text()
    assert report.count("| 40 % pruned, int8 |") == 2


def test_further_formats_lie_beside_the_onnx_file(project: Project) -> None:
    folder = project.root / "models" / "export" / "40"
    assert (folder / "openvino" / "model.xml").is_file()
    assert (folder / "ncnn" / "model.ncnn.param").is_file()


@pytest.mark.parametrize(
    ("name", "expected", "backend"),
    [
        ("baseline", VOCABULARY, "pytorch-cpu"),
        ("sparse", VOCABULARY | {"near_zero"}, "pytorch-cpu"),
        ("prune/40", VOCABULARY | {"percent_effective", "certificate_max_diff", "map50_cut"}, "pytorch-cpu"),
        ("finetune/40", VOCABULARY, "pytorch-cpu"),
        ("control/dense", VOCABULARY, "pytorch-cpu"),
        ("ascend_eval/control/dense", VOCABULARY, "onnxruntime-cpu"),
        ("unstructured", VOCABULARY | {"zero_percent"}, "pytorch-cpu"),
        ("ascend_eval/baseline", VOCABULARY, "onnxruntime-cpu"),
        ("ascend_eval/40", VOCABULARY, "onnxruntime-cpu"),
    ],
)
def test_metrics_speak_one_vocabulary(project: Project, name: str, expected: set[str], backend: str) -> None:
    found = project.json(f"metrics/{name}.json")
    assert found.keys() >= expected
    assert found["backend"] == backend
    assert (
        found.get("suppression", "NMS at an overlap of 0.6, the 300 best") == "NMS at an overlap of 0.6, the 300 best"
    )
    assert ("suppression" in found) == (backend == "pytorch-cpu")
    assert all(0 <= found[key] <= 1 for key in ACCURACY)
    assert all(found[key] > 0 for key in ("latency_ms", "fps", "params_m", "gflops", "size_mb"))
    assert found["latency_p90_ms"] >= found["latency_ms"]


def test_data_stage_reports_what_it_made(project: Project) -> None:
    found = project.json("metrics/data.json")
    assert [found[f"{split}_images"] for split in ("train", "val", "test")] == [24, 8, 8]
    assert found["train_boxes"] > 0


def test_cut_is_proved_and_smaller(project: Project) -> None:
    found, dense = project.json("metrics/prune/40.json"), project.json("metrics/baseline.json")
    assert found["certificate_max_diff"] < 1e-4
    assert found["percent_requested"] == 40
    assert 0 < found["percent_effective"] <= 45
    assert found["params_m"] < dense["params_m"]
    assert found["gflops"] < dense["gflops"]
    assert project.json("metrics/finetune/40.json")["params_m"] == found["params_m"]


@pytest.mark.parametrize("which", ["baseline", "40"])
def test_graph_is_exported_and_the_command_for_ascend_written(project: Project, which: str) -> None:
    exported = project.json(f"metrics/export/{which}.json")
    assert exported["onnx_max_diff"] < 1e-3
    assert exported["opset"] == 11
    assert (project.root / f"models/export/{which}/model.onnx").stat().st_size > 10_000
    assert "atc" in (project.root / f"models/atc/{which}/atc.sh").read_text()
    if shutil.which("atc") is None:
        assert project.json(f"models/atc/{which}/atc.json")["state"] == "not_available"


def test_exported_graph_finds_what_the_model_finds(project: Project) -> None:
    for trained, exported in (("baseline", "baseline"), ("finetune/40", "40")):
        torch_map = project.json(f"metrics/{trained}.json")["map50"]
        assert project.json(f"metrics/ascend_eval/{exported}.json")["map50"] == pytest.approx(torch_map, abs=0.02)


def test_report_is_one_page_with_its_pictures(project: Project) -> None:
    assert "40" in (project.root / "report/report.md").read_text()
    page = (project.root / "report/index.html").read_text()
    assert "<html" in page
    assert 'src="http' not in page
    assert (project.root / "mlflow.db").stat().st_size > 0


def test_every_output_is_whole(project: Project) -> None:
    assert [path for path in project.root.glob("models/**/.*") if path.is_file()] == []
    assert list((project.root / ".cache/checkpoints").glob("*")) == []


def test_second_run_runs_nothing(project: Project) -> None:
    assert project.repro() == set()


def test_other_thresholds_and_settings_of_the_machine_train_nothing_again(project: Project) -> None:
    path = project.root / "params.yaml"
    before = path.read_text()
    machine = {"workers": 2, "memory_gb": 1.5, "threads": 2, "device": "auto", "cache_dir": ".cache/more"}
    changes = {"train": machine, "data": {"workers": 2}, "evaluation": {"iou_thres": 0.65}}
    project.write_params(changes | UNTRACKED)
    try:
        assert project.repro() == {  # from the boxes that are known
            *("measure_baseline", "measure_control@dense", "measure@40"),
            "ascend_eval_control@dense",
            *("measure_int8@40", "ascend_eval_baseline", "ascend_eval@40", "champion", "report"),
        }
        names = ("metrics/finetune/40.json", "metrics/ascend_eval/40.json", "detections/finetune/40.json")
        known = [project.json(name) for name in names]
        said = project.run("dvc", "repro", "--force", "--single-item", "measure@40", "ascend_eval@40")
        assert "boxes before suppression as found on" not in said, "--force asks the network"
        for name, found in zip(names, known, strict=True):
            anew = project.json(name)
            accuracy = [key for key in anew if not key.startswith(("latency", "fps", "speedup"))]
            assert {key: found[key] for key in accuracy} == {key: anew[key] for key in accuracy}
    finally:
        path.write_text(before)


def test_edited_code_reruns_the_stages_that_run_it(project: Project) -> None:
    path, settings = project.root / "src/yoloslim/training/distillation.py", project.root / "params.yaml"
    before, params = path.read_text(), settings.read_text()
    project.write_params(UNTRACKED)
    try:
        path.write_text(before + "\n# a comment\n")
        assert project.repro() == set()
        path.write_text(before + "\nOTHER = 1\n")
        # the same model, but a history with other times beside it: what reads the folder is due
        after = {"export@40", "measure@40", "ascend_eval@40", "champion", "report"}
        ran = project.repro() - {"timing"}  # due only where the exported graph is another one
        assert ran == {"finetune@40"} | after
    finally:
        path.write_text(before)
        settings.write_text(params)


def test_metrics_and_plots_show(project: Project) -> None:
    lines = project.run("dvc", "metrics", "show").splitlines()
    assert lines[0].split() == ["Path", "latency_ms", "map50", "map50_95", "params_m", "speedup"]
    assert {line.split()[0] for line in lines[1:]} == {
        f"summary/{name}.json" for name in ("baseline", "control", "40", "40-int8-onnxruntime", "40-int8-ncnn")
    }
    assert max(map(len, lines)) <= 100
    page = Path(project.run("dvc", "plots", "show").strip().removeprefix("file://"))
    assert page.suffix == ".html"
    assert "epochs.csv" in page.read_text()


def test_the_champion_is_an_artifact_that_other_projects_take(project: Project, tmp_path: Path) -> None:
    project.run("gto", "register", "champion")
    project.run("dvc", "artifacts", "get", str(project.root), "champion", "--out", str(tmp_path / "champion"))
    assert json.loads((tmp_path / "champion/champion.json").read_text())["model"] == "prune@40"
    graph = (project.root / "models/export/40/model.onnx").read_bytes()
    assert (tmp_path / "champion/model.onnx").read_bytes() == graph


def test_the_pages_commands_run_as_they_are_printed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a copy of the finished project with percent 50 and what a reader has besides."""
    folder = project.root.parent / "typed"
    shutil.copytree(project.root, folder, ignore=shutil.ignore_patterns(".git", "cache", "mlartifacts"))
    prepare(folder)
    monkeypatch.chdir(folder)
    params, failed = (folder / "params.yaml").read_bytes(), {}
    for line in typed_by("tests/stages/test_pipeline.py"):
        if (needed := toolchain_of(line)) and state_of(toolchain_named(needed)).word != "installed":
            continue
        for command in line.split(" && "):
            if command.startswith("cd "):
                continue
            with pytest.MonkeyPatch.context() as patch:
                stand_in(command, folder, patch)
                done = CliRunner().invoke(app, shlex.split(command)[1:])
            if done.exit_code:
                failed[command] = f"{done.exception} {done.output[-1000:]}"
        (folder / "params.yaml").write_bytes(params)
    assert failed == {}


def test_missing_checkpoint_names_the_way_out(project: Project) -> None:
    aside = project.root / "aside"
    (project.root / "models/sparse").rename(aside)
    try:
        done = project.attempt("python", "-m", "pipeline.prune", "--percent", "40")
    finally:
        aside.rename(project.root / "models/sparse")
    assert done.returncode == 1
    missing = (
        "error: model file models/sparse/model.safetensors is missing; check the name, or run the stage that makes it"
    )
    assert done.stderr.strip().startswith(missing)
    assert "Traceback" not in done.stderr


def test_wrong_image_size_names_the_nearest(project: Project) -> None:
    path = project.root / "params.yaml"
    before = path.read_text()
    path.write_text(before.replace("imgsz: 64", "imgsz: 100", 1))
    try:
        done = project.attempt("dvc", "repro", "baseline")
    finally:
        path.write_text(before)
    assert done.returncode != 0
    assert "imgsz = 100: must be a multiple of 32; nearest are 96 and 128" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert project.repro() == set()


def test_a_model_to_quantise_that_is_no_percent_is_said_before_anything_runs(project: Project) -> None:
    path = project.root / "params.yaml"
    before = path.read_text()
    project.write_params({"quantize": {"models": [40, 70]}})
    try:
        done = project.attempt("dvc", "repro")
    finally:
        path.write_text(before)
    assert done.returncode != 0
    assert "quantize.models names 70" in done.stdout + done.stderr
    assert "Errno" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_experiments_in_a_copy_are_in_the_project_s_own_mlflow(project: Project) -> None:
    """Its address is relative; DVC removes the copy."""
    import mlflow

    project.run("dvc", "exp", "run", "--queue", "-S", "unstructured.percent=40")
    project.run("dvc", "exp", "run", "--run-all")
    client = mlflow.MlflowClient(f"sqlite:///{project.root}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("yoloslim").experiment_id])
    new = [run for run in runs if run.data.params["yaml.unstructured.percent"] == "40"]
    assert {run.data.tags["yoloslim.current"] for run in new} == {"false"}
    assert "unstructured" in {run.info.run_name.split(" (")[0] for run in new}  # the experiment stands behind it
    assert list(project.root.rglob("mlflow.db")) == [project.root / "mlflow.db"]


def test_another_percent_runs_only_its_own_stages(project: Project) -> None:
    project.write_params({"percents": [40, 60]})
    assert project.repro() == stages_of(60) | {"timing", "champion", "report"}
    assert project.json("metrics/finetune/60.json")["params_m"] < project.json("metrics/finetune/40.json")["params_m"]
    changes = json.loads(project.run("dvc", "metrics", "diff", "--json"))
    assert "map50" in changes["summary/60.json"]
