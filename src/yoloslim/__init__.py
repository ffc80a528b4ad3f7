"""yoloslim: from images and boxes to the smallest YOLO that still finds what matters."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yoloslim.api import build as build
    from yoloslim.api import export as export
    from yoloslim.api import load as load
    from yoloslim.api import prune as prune

__version__ = "0.1.0"
__all__ = ["__version__", "build", "export", "load", "prune"]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: PyTorch takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module 'yoloslim' has no attribute '{name}'; it offers {', '.join(__all__[1:])}")
    from yoloslim import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
