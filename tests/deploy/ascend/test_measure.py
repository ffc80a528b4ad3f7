import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.deploy.models import tiny_detector
from yoloslim.boxes import Align, fit
from yoloslim.data.evalset import EvalSet, Index, Letterboxed
from yoloslim.data.voc import annotation_from
from yoloslim.deploy.ascend.aipp import device_input
from yoloslim.deploy.ascend.atc import AtcOptions, compile_model
from yoloslim.deploy.ascend.measure import evaluate_exported
from yoloslim.deploy.board.device import Local, open_device
from yoloslim.deploy.board.job import Job, check_facts, prepare_job
from yoloslim.deploy.board.remote import Board
from yoloslim.deploy.export_model import export_model
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import NmsOptions


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("run")
    export_model(tiny_detector(), root / "export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)
        compile_model(root / "export", root / "atc")
    return root / "export", root / "atc"


def make_set(count: int = 3, align: Align = "center") -> EvalSet:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    annotation = annotation_from(100, 60, [[10, 10, 50, 50]], [1], [False], [False])
    letterboxes = tuple(fit(100, 60, 64, align) for _ in range(count))
    return EvalSet(("a", "b", "c"), tuple(map(str, range(count))), images, letterboxes, (annotation,) * count)


def test_every_number_carries_its_backend(folders: tuple[Path, Path]) -> None:
    metrics, evaluation = evaluate_exported(*folders, make_set(), threads=1, warmup=0, repeats=2)
    assert metrics["backend"] == "onnxruntime-cpu"
    assert metrics["preprocessing"] == "aipp-twin-nv12"
    assert metrics["latency_preprocessing"] == "float/255"
    assert {k: metrics[k] for k in evaluation.metrics} == evaluation.metrics
    assert {"latency_ms", "latency_p50_ms", "latency_p90_ms", "fps", "size_mb"} <= metrics.keys()
    assert (metrics["latency_threads"], metrics["latency_batch"]) == (1, 1)
    assert len(evaluation.detections) == 3
    assert "ascend" not in str(metrics).lower()


def test_rgb_input_is_emulated_on_request(folders: tuple[Path, Path]) -> None:
    nv12 = evaluate_exported(*folders, make_set(), repeats=1, warmup=0)[1]
    metrics, rgb = evaluate_exported(*folders, make_set(), repeats=1, warmup=0, preprocessing="rgb")
    assert metrics["preprocessing"] == "aipp-twin-rgb"
    assert any(len(a) != len(b) or not np.allclose(a, b) for a, b in zip(nv12.detections, rgb.detections, strict=True))


def test_an_empty_set_does_not_crash(folders: tuple[Path, Path]) -> None:
    metrics, _ = evaluate_exported(*folders, make_set(0), repeats=1, warmup=0)
    assert metrics["map50"] == 0


def test_require_without_a_compiled_model_says_what_is_missing(folders: tuple[Path, Path]) -> None:
    with pytest.raises(DeployError, match=r"the model is not compiled.*ascend\.require=false"):
        evaluate_exported(*folders, make_set(), require=True, device=Local())


def test_graph_and_compilation_must_belong_together(folders: tuple[Path, Path], tmp_path: Path) -> None:
    export_model(tiny_detector(seed=1), tmp_path / "other")
    with pytest.raises(DeployError, match="made from another graph"):
        evaluate_exported(tmp_path / "other", folders[1], make_set())


def test_images_letterboxed_another_way_are_refused(folders: tuple[Path, Path]) -> None:
    with pytest.raises(DeployError, match=r"align='center' and imgsz=64"):
        evaluate_exported(*folders, make_set(align="topleft"))


def test_the_compiled_input_is_the_default(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yoloslim.deploy.ascend.atc.find_cann", lambda: None)
    compile_model(folders[0], tmp_path / "atc", AtcOptions(aipp_input="rgb"))
    metrics, _ = evaluate_exported(folders[0], tmp_path / "atc", make_set(), repeats=1, warmup=0)
    assert metrics["preprocessing"] == "aipp-twin-rgb"


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An export that the fake atc has compiled."""
    program = tmp_path / "bin" / "atc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("fake_atc.py")}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    export_model(tiny_detector(), tmp_path / "export")
    compile_model(tmp_path / "export", tmp_path / "atc")
    return tmp_path / "export", tmp_path / "atc"


def set_env(folder: Path, *paths: Path) -> str:
    """What CANN's set_env.sh does, with the fake `acl`."""
    script = folder / "set_env.sh"
    script.write_text(f'export PYTHONPATH="{os.pathsep.join(map(str, paths))}"\n')
    return str(script)


def test_a_compiled_model_is_evaluated_on_the_chip_that_is_there(compiled: tuple[Path, Path], tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    device = Local(set_env(tmp_path, root / "src", root / "tests/runner/fakes"))
    metrics, evaluation = evaluate_exported(*compiled, make_set(), require=True, device=device)
    assert (metrics["backend"], metrics["preprocessing"]) == ("ascend-acl", "aipp-nv12")
    assert {"latency_ms", "latency_p90_ms", "fps", "latency_postprocess_ms", "peak_memory_mb"} <= metrics.keys()
    _, stand_in = evaluate_exported(*compiled, make_set(), repeats=1, warmup=0)
    for mine, theirs in zip(evaluation.detections, stand_in.detections, strict=True):  # the fake chip is exact
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-3)


def test_a_job_never_holds_all_canvases(
    compiled: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.asarray(make_set(6).images)
    asked: list[int] = []

    class Lazy(Letterboxed):
        def __getitem__(self, index: Index) -> np.ndarray:
            found = super().__getitem__(index)
            asked.append(len(found))
            return found

    def run(self: Local, job: Job, *_: object, **__: object) -> None:
        sent = np.concatenate([np.load(job.files[f"pixels-{i:04}.npy"]) for i in range(3)])
        np.testing.assert_array_equal(sent, device_input("nv12", images))
        raise DeployError("enough")

    monkeypatch.setattr("yoloslim.deploy.board.evaluation.prepare_job", partial(prepare_job, chunk_bytes=30_000))
    monkeypatch.setattr(Local, "run", run)
    eval_set = make_set(6)
    boxes = [fit(64, 64, 64)] * 6  # whole canvases, which is no matter here
    with pytest.raises(DeployError, match="enough"):
        evaluate_exported(*compiled, replace(eval_set, images=Lazy(images, boxes)), device=Local())
    assert asked == [2, 2, 2]


def test_room_is_asked_for_what_is_still_to_send(compiled: tuple[Path, Path]) -> None:
    facts = {"acl": "ok", "devices": 1, "chip": "", "free_bytes": 20 << 20}
    check_facts(facts, 4 << 20, compiled[1], "acl", "x")
    with pytest.raises(DeployError, match="x has 21 MB of disk free, the job needs 22 MB"):
        check_facts(facts, 5 << 20, compiled[1], "acl", "x")


def test_this_machine_asks_for_no_room_for_files_that_are_there(
    compiled: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def check(facts: object, to_send: int, *_: object) -> None:
        asked.append(to_send)
        raise DeployError("enough")

    monkeypatch.setattr("yoloslim.deploy.board.device.check_facts", check)
    job = prepare_job(compiled[1], tmp_path, ["0"], np.zeros((1, 64, 64, 3), np.uint8), NmsOptions())
    with pytest.raises(DeployError, match="enough"):
        Local().run(job, compiled[1])
    assert asked == [0]


def test_a_missing_set_env_is_named() -> None:
    with pytest.raises(DeployError, match=r"/no/set_env\.sh \(ascend\.set_env\) is missing on this machine"):
        Local("/no/set_env.sh").probe()


def test_a_target_becomes_a_device_with_its_interpreter() -> None:
    board = open_device("ssh://me@board", "/set_env.sh", "python3.7")
    assert isinstance(board, Board)
    assert (board.set_env, board.python) == ("/set_env.sh", "python3.7")
    assert open_device("local", "/set_env.sh", "python3.7") == Local("/set_env.sh")


def test_without_a_chip_the_stand_in_is_labelled_and_require_is_an_error(
    compiled: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device = Local(set_env(tmp_path))
    caplog.set_level("INFO")
    metrics, _ = evaluate_exported(*compiled, make_set(), repeats=1, warmup=0, device=device)
    assert metrics["backend"] == "onnxruntime-cpu"
    assert "no Ascend device takes part: this machine has no working CANN" in caplog.text
    with pytest.raises(DeployError, match=r"ascend\.require is true.*No module named 'acl'"):
        evaluate_exported(*compiled, make_set(), require=True, device=device)
