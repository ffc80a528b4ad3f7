"""Numbers of threads that are changed for a while."""

import subprocess
import sys

import cv2
import pytest
import torch

from yoloslim.torch_threads import threads_kept, torch_threads


@threads_kept()
def broken() -> None:
    """Change both and fail."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    raise KeyError


def test_pytorch_and_opencv_get_their_threads_back_after_a_failure_too() -> None:
    torch.set_num_threads(2)
    cv2.setNumThreads(2)
    with pytest.raises(KeyError):
        broken()
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 2)
    with torch_threads(1):
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 2)
    assert torch.get_num_threads() == 2


def test_other_runtimes_do_without_pytorch() -> None:
    code = "import sys\nfrom yoloslim.torch_threads import threads_kept\nwith threads_kept():\n    pass\n"
    code += "print({'torch', 'cv2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
