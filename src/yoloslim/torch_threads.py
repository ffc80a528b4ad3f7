"""How many threads PyTorch computes with."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def threads_kept() -> Iterator[None]:
    """Give PyTorch and OpenCV back the threads that the process gave them, where it has imported them."""
    torch, cv2 = sys.modules.get("torch"), sys.modules.get("cv2")
    of_torch, of_cv2 = torch and torch.get_num_threads(), cv2 and cv2.getNumThreads()
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(of_torch)
        if cv2:
            cv2.setNumThreads(of_cv2)


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Give PyTorch so many threads for a while."""
    import torch

    with threads_kept():
        torch.set_num_threads(threads)
        yield
