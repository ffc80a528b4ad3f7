"""Converters of other makers whose packages do not go with ours: each in an environment of its own, under the cache."""

from yoloslim.toolchains.base import TOOLCHAINS, Toolchain, toolchain_named, toolchains_folder
from yoloslim.toolchains.install import State, install, remove, state_of
from yoloslim.toolchains.session import Session

__all__ = [
    "TOOLCHAINS",
    "Session",
    "State",
    "Toolchain",
    "install",
    "remove",
    "state_of",
    "toolchain_named",
    "toolchains_folder",
]
