"""yoloslim: from images and boxes to the smallest YOLO that still finds what matters."""

import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
"""OpenCV prints lines about what it cannot decode, without the file's name; those who read files say it themselves."""

if TYPE_CHECKING:
    from yoloslim.api import build as build
    from yoloslim.api import detect as detect
    from yoloslim.api import evaluate as evaluate
    from yoloslim.api import export as export
    from yoloslim.api import load as load
    from yoloslim.api import prune as prune
    from yoloslim.api import quantize as quantize
    from yoloslim.api import register_dataset as register_dataset
    from yoloslim.api import register_importance as register_importance
    from yoloslim.api import register_op as register_op
    from yoloslim.api import register_runtime as register_runtime
    from yoloslim.api import train as train

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "build",
    "detect",
    "evaluate",
    "export",
    "load",
    "prune",
    "quantize",
    "register_dataset",
    "register_importance",
    "register_op",
    "register_runtime",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: PyTorch takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module 'yoloslim' has no attribute '{name}'; it offers {', '.join(__all__[1:])}")
    from yoloslim import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
