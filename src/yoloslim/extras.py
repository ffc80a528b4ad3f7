"""Packages that only some commands need, and what to say where one is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

EXTRAS = {
    **dict.fromkeys(("prefect",), "prefect"),
    **dict.fromkeys(("prefect_dask", "distributed", "dask"), "dask"),
    **dict.fromkeys(("prefect_ray", "ray"), "ray"),
    **dict.fromkeys(("openvino", "nncf", "ncnn", "pnnx"), "runtimes"),
    **dict.fromkeys(("ai_edge_litert", "litert_quantizer"), "litert"),
    **dict.fromkeys(("tensorrt",), "tensorrt"),
    **dict.fromkeys(("psycopg", "psycopg_binary"), "postgresql"),
}
"""Name that is imported -> the extra of the wheel that brings it."""


def advice(package: str) -> str:
    """The command that installs a package: its extra's, or, of what every installation should have, yoloslim's own."""
    return f"pip install 'yoloslim[{EXTRAS[package]}]'" if package in EXTRAS else f"pip install yoloslim {package}"


def is_installed(package: str) -> bool:
    """Whether a package is there, without importing it."""
    try:
        return find_spec(package) is not None
    except ValueError:  # half imported, or replaced by None
        return False


@contextmanager
def or_advice() -> Iterator[None]:
    """End the program with a sentence, instead of a traceback, where it imports a package that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "yoloslim", "pipeline", "flows"):
            raise  # a fault of ours, or a script that is missing
        raise SystemExit(
            f"error: this needs the package {package}, which is not installed: {advice(package)}"
        ) from error
