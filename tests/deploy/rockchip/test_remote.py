"""Models for Rockchip over SSH, against a real OpenSSH server on localhost; the NPU is played by a fake."""

from pathlib import Path

import numpy as np
import pytest

from tests.deploy.board.sshd import Server
from tests.deploy.rockchip.compiled import describe
from tests.tiny import shake_norms, tiny_detector
from yoloslim.boxes import fit
from yoloslim.config import parse_params
from yoloslim.data.evalset import EvalSet
from yoloslim.data.voc import annotation_from
from yoloslim.deploy.board.evaluation import run_on
from yoloslim.deploy.board.job import DeviceUnavailableError, check_facts
from yoloslim.deploy.board.remote import Board
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.errors import DeployError
from yoloslim.evaluation.evaluate import evaluate
from yoloslim.evaluation.nms import NmsOptions, detect
from yoloslim.files import read_json
from yoloslim.stages import rknn_eval

COUNT = 6
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 64, 64, 3), dtype=np.uint8)
TRUTH = annotation_from(64, 64, [[10, 10, 50, 50]], [1], [False], [False])
SET = EvalSet(("a", "b"), tuple("012345"), IMAGES, (fit(64, 64, 64),) * COUNT, (TRUTH,) * COUNT)
OPTIONS = NmsOptions(conf_thres=1e-6, max_det=100)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    model = tiny_detector()
    shake_norms(model)
    export_model(model.eval(), folder := tmp_path / "models/rknn/50/int8")
    describe(folder)
    return folder


@pytest.mark.slow
def test_a_job_that_died_goes_on_and_finds_what_the_model_finds(server: Server, bundle: Path) -> None:
    with pytest.raises(DeployError, match=r"died \(exit status 137; .*\); . of 6 images are done there"):
        run_on(Board(server.target(), server.set_env("export FAKE_RKNN=die")), bundle, SET, OPTIONS, "rknnlite", 0)
    board = Board(server.target(), server.set_env())
    run = run_on(board, bundle, SET, OPTIONS, "rknnlite", 0)
    assert (run.computed, run.backend) == (COUNT - 2, "rockchip-rknnlite")
    predictor = open_predictor(bundle, "onnxruntime")
    wanted = [detect(predictor.predict(image[None]), predictor.head, OPTIONS)[0] for image in IMAGES]
    for found, rows in zip(run.detections, wanted, strict=True):
        np.testing.assert_allclose(found, rows, rtol=1e-4, atol=1e-4)
    board.tidy()
    assert server.folders() == []


@pytest.mark.slow
def test_the_stage_judges_what_the_board_found(
    server: Server, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rknn_eval, "eval_set", lambda params, split: SET)
    where = {"target": f"{server.target()}{server.runs}", "python": server.python(), "twin_images": 0}
    raw = {"rknn": {"target": "rk3588", "precisions": ["int8"]}, "rknn_eval": where}
    rknn_eval.run(params := parse_params(raw), "50")
    found = read_json(tmp_path / "metrics/rknn_eval/50.json")["int8"]
    assert (found["backend"], found["chip"], found["images"]) == ("rockchip-rknnlite-int8", "rk3588", COUNT)
    assert found["latency_ms"] > 0
    wanted = evaluate(open_predictor(bundle, "onnxruntime"), SET, rknn_eval.nms_options(params)).metrics
    assert found["map50"] == pytest.approx(wanted["map50"], abs=1e-4)
    assert server.folders() == []
    server.set_env(acl=False)
    with pytest.raises(
        DeviceUnavailableError, match="no working rknnlite: No module named 'rknnlite'; pip install rknn-toolkit-lite2"
    ):
        rknn_eval.run(params, "50")


def test_another_chip_is_named_with_the_setting(bundle: Path) -> None:
    facts = {"rknnlite": "ok", "chip": "rk3568", "free_bytes": 1 << 30}
    with pytest.raises(DeployError, match=r"x has an rk3568, .* compiled for rk3588: set rknn\.target=rk3568 and"):
        check_facts(facts, 0, bundle, "rknnlite", "x")
