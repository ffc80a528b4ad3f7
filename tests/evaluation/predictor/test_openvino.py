import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.deploy.models import tiny_detector
from yoloslim.deploy.export_model import export_model
from yoloslim.deploy.runtimes import open_predictor
from yoloslim.errors import DeployError
from yoloslim.evaluation.predictor import openvino
from yoloslim.evaluation.predictor.openvino import openvino_core

PROGRAM = """
import gc, signal, sys
from pathlib import Path
import numpy as np
from yoloslim.deploy.runtimes import open_predictor

image = np.zeros((1, 64, 64, 3), np.uint8)
opened = []
for _ in range(4):
    opened.append(open_predictor(Path(sys.argv[1]), threads=1))
    opened[-1].predict(image)
while opened:
    opened.pop(0)
    gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("heard"))
signal.raise_signal(signal.SIGINT)
"""


def test_ctrl_c_is_heard_after_predictors_that_went_in_the_order_they_came(tmp_path: Path) -> None:
    """Where the CPU has AMX, the signal ended the process by SIGSEGV; elsewhere this holds by itself."""
    export_model(tiny_detector(), tmp_path / "ir", file_format="openvino")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "ir")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_bf16_is_refused_where_the_cpu_would_compute_fp32_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_model(tiny_detector(), tmp_path)
    core = openvino_core()

    def on_a_cpu_without(model: Any, device: str, settings: dict[str, Any]) -> Any:
        return core.compile_model(model, device, settings | {"INFERENCE_PRECISION_HINT": "f32"})

    plain = SimpleNamespace(read_model=core.read_model, compile_model=on_a_cpu_without)
    monkeypatch.setattr(openvino, "openvino_core", lambda: plain)
    assert open_predictor(tmp_path, "openvino", threads=1).backend == "openvino-cpu"
    message = r"openvino-cpu computes in f32 on this CPU when bf16 is asked for; leave the precision out to have fp32"
    with pytest.raises(DeployError, match=message):
        open_predictor(tmp_path, "openvino", threads=1, precision="bf16")
