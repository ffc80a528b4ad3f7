"""Devices and precisions that can be asked for."""

import subprocess
import sys

import pytest
import torch

from yoloslim.errors import TrainError
from yoloslim.training.devices import choose_device, choose_precision


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_missing_cuda_is_said() -> None:
    with pytest.raises(TrainError, match="PyTorch finds no CUDA device; set it to auto or cpu"):
        choose_device("cuda")
    assert choose_device("auto").type == "cpu"


@pytest.mark.parametrize(("name", "expected"), [("fp32", "32-true"), ("bf16", "bf16-mixed"), ("fp16", "16-mixed")])
def test_precision_can_be_asked_for(name: str, expected: str) -> None:
    assert choose_precision(name, torch.device("cpu")) == expected
    assert choose_precision("auto", torch.device("cpu")) in {"bf16-mixed", "32-true"}


def test_stages_that_train_nothing_do_not_wait_for_fabric() -> None:
    code = "import sys, yoloslim.stages.measure, yoloslim.stages.prune; sys.exit('lightning_fabric' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
