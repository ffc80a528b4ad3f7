import subprocess
import sys
from pathlib import Path

from tests.deploy.models import tiny_detector
from yoloslim.deploy.export_model import export_model

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
