"""Huawei's CANN on this machine: where `atc` is, which environment it needs, which version it is."""

import logging
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from yoloslim.deploy.board.environment import SET_ENV

logger = logging.getLogger(__name__)

_TIMEOUT_S = 30


@dataclass(frozen=True)
class Cann:
    """An installation that can compile.

    Attributes:
        atc: the compiler.
        set_env: the script whose environment it needs; None where the caller's already holds it.
        environment: all variables that `atc` is to be started with.
        version: such as `5.0.4`; empty where the installation does not say.
    """

    atc: Path
    set_env: Path | None
    environment: dict[str, str]
    version: str


def find_cann() -> Cann | None:
    """The compiler on the PATH, else the one that the first working `set_env.sh` of CANN's usual places brings."""
    found = shutil.which("atc")
    if found:
        return Cann(Path(found), None, dict(os.environ), _version(dict(os.environ), Path(found)))
    for candidate in SET_ENV:
        script = Path(os.path.expandvars(candidate))
        if script.is_file():
            environment = _environment_of(script)
            found = shutil.which("atc", path=environment.get("PATH", ""))
            if found:
                logger.info("found atc by %s", script)
                return Cann(Path(found), script, environment, _version(environment, Path(found)))
            logger.warning("%s is there, but brings no atc onto the PATH: the runtime alone cannot compile", script)
    return None


def _environment_of(script: Path) -> dict[str, str]:
    """The environment after sourcing a script; this process's own if the script fails."""
    command = ["bash", "-c", 'source "$1" >/dev/null 2>&1; env -0', "bash", str(script)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("%s cannot be sourced: %s", script, error)
        return dict(os.environ)
    pairs = (item.partition("=") for item in done.stdout.decode(errors="replace").split("\0") if item)
    return {name: value for name, _, value in pairs}


def _version(environment: dict[str, str], atc: Path) -> str:
    """What `ascend_toolkit_install.info` says; CANN keeps it in a folder named after the architecture."""
    homes = [environment.get("ASCEND_TOOLKIT_HOME"), environment.get("ASCEND_HOME_PATH"), str(atc.resolve().parents[1])]
    for home in filter(None, homes):
        for path in sorted(Path(home).glob("*/ascend_toolkit_install.info")):
            match = re.search(r"^version=(\S+)", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
            if match:
                return match[1]
    return ""
