import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from yoloslim.config import Params
from yoloslim.errors import DataError, Interrupted
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.stages.code import Library
from yoloslim.stages.common import is_forced, stage
from yoloslim.stages.inputs import nms_options
from yoloslim.stages.training import Training, checkpoint_key, code_of, write_csv


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder in which the stage `data` has run, and where tests are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/voc").mkdir(parents=True)
    (tmp_path / "data/voc/report.json").write_text("{}")
    (tmp_path / "start.safetensors").write_bytes(b"weights")
    return tmp_path


def key(params: dict[str, object] | None = None, layers: tuple[str, ...] = ("a",)) -> str:
    made = Params.model_validate(params or {})
    return checkpoint_key(made, Training("sparse", made.sparse, (Path("start.safetensors"),), layers))


def test_suppression_is_what_the_section_evaluation_says() -> None:
    assert nms_options(Params()) == NmsOptions()  # as trainers validate
    section = {"conf_thres": 0.1, "iou_thres": 0.5, "max_det": 7, "multi_label": False}
    assert nms_options(Params.model_validate({"evaluation": section})) == NmsOptions(0.1, 0.5, 7, False)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"imgsz": 224},
        {"sparse": {"rate": 0.5}},
        {"train": {"batch": 4}},
    ],
)
def test_checkpoint_of_other_params_is_not_resumed(change: dict[str, object]) -> None:
    assert key() == key()
    assert key(change) != key()


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "change",
    [
        {"report": {"images": 2}},
        {"evaluation": {"iou_thres": 0.5}},
        {"train": {"threads": 3, "cache_dir": "elsewhere"}},
    ],
)
def test_checkpoint_is_resumed_whatever_is_measured_shown_or_used(change: dict[str, object]) -> None:
    assert key(change) == key()


def test_checkpoint_of_other_data_weights_or_layers_is_not_resumed(project: Path) -> None:
    before = key()
    assert key(layers=("a", "b")) != before
    (project / "start.safetensors").write_bytes(b"other")
    second = key()
    (project / "data/voc/report.json").write_text("[]")
    assert len({before, second, key()}) == 3


@pytest.mark.usefixtures("project")
def test_checkpoint_of_other_code_or_torch_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = tmp_path / "yoloslim"
    shutil.copytree(Library().root, copied)
    before = key()
    monkeypatch.setattr("yoloslim.stages.training.Library", lambda: Library(copied))
    assert key() == before  # where it lies does not matter
    with (copied / "training" / "fit.py").open("a") as stream:
        stream.write("OTHER = 1\n")
    second = key()
    monkeypatch.setattr("torch.__version__", "9.9")
    assert len({before, second, key()}) == 3


def test_a_training_that_is_no_stage_has_the_shared_code() -> None:
    assert {line.split()[1] for line in set(code_of("sparse")) - set(code_of("narrow"))} >= {
        "yoloslim/stages/sparse.py",
        "yoloslim/training/sparsity.py",
    }
    assert set(code_of("narrow")) <= set(code_of("sparse"))


def test_errors_made_for_people_end_a_stage_without_a_traceback(project: Path) -> None:
    (project / "params.yaml").write_text("seed: 3\n")
    seen = []

    def fail(params: Params) -> None:
        seen.append(params.seed)
        raise DataError("no such folder")

    with pytest.raises(SystemExit) as ended:
        stage(fail)
    assert ended.value.code == "error: no such folder"
    assert seen == [3]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "goes on from its last checkpoint when the same command"),
        (Interrupted(15, "after epoch 1 of 3"), 143, "stopped after epoch 1 of 3; give the same command again"),
    ],
)
def test_interrupt_says_how_to_go_on(
    project: Path, error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(params: Params) -> None:
        raise error

    (project / "params.yaml").write_text("seed: 0\n")
    with pytest.raises(SystemExit) as ended:
        stage(interrupt)
    assert ended.value.code == code
    assert message in capsys.readouterr().err


class Ancestor:
    """Stands for a process above: a fake."""

    def __init__(self, *words: str) -> None:
        self.words = list(words)

    def cmdline(self) -> list[str]:
        return self.words


@pytest.mark.parametrize(
    ("words", "forced"),
    [
        (["python", "/venv/bin/dvc", "repro", "--force"], True),
        (["/venv/bin/dvc", "repro", "-f", "sparse"], True),
        (["dvc", "repro", "-sf", "sparse"], True),
        (["python", "/lib/dvc/__main__.py", "repro", "--force"], True),
        (["dvc", "repro"], False),
        (["dvc", "exp", "run", "-f"], True),
        (["dvc", "repro", "finetune@50"], False),
        (["dvc", "exp", "run", "-S", "prune.scope=free"], False),
        (["bash", "-f", "repro"], False),
    ],
)
def test_force_is_read_off_the_dvc_process_above(
    words: list[str], forced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = [Ancestor("sh", "-c", "python -m pipeline.sparse"), Ancestor(*words), Ancestor("bash")]
    monkeypatch.setattr("psutil.Process.parents", lambda self: above)
    assert is_forced() is forced


def test_mistakes_of_the_program_keep_their_traceback(project: Path) -> None:
    (project / "params.yaml").write_text("seed: 0\n")
    with pytest.raises(ZeroDivisionError):
        stage(lambda params: print(1 // 0))


@pytest.mark.usefixtures("project")
def test_wrong_params_end_a_stage(project: Path) -> None:
    (project / "params.yaml").write_text("imgsz: 100\n")
    with pytest.raises(SystemExit, match="imgsz = 100: must be a multiple of 32"):
        stage(lambda params: None)


@pytest.fixture(autouse=True)
def _quiet_fabric() -> object:
    level = logging.getLogger("lightning_fabric").level
    yield
    logging.getLogger("lightning_fabric").setLevel(level)


def test_columns_of_epochs_that_lack_some_are_left_empty(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [{"epoch": 1, "loss": 0.12345678}, {"epoch": 2, "loss": 1, "map50": 0.5}])
    assert (tmp_path / "a.csv").read_text().splitlines() == ["epoch,loss,map50", "1,0.123457,", "2,1,0.5"]


def test_stages_that_need_no_pytorch_start_without_it() -> None:
    stages = ("ascend_eval", "atc", "champion", "listing", "measure_int8", "report", "timing", "track")
    imports = "; ".join(f"import yoloslim.stages.{stage}" for stage in stages)
    code = f"import sys; {imports}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
