"""What an Ascend bundle has of its own: names of its compiled model, and the environments that its `run.sh` brings."""

from pathlib import Path

from yoloslim.deploy.board.bundle import write_run_script
from yoloslim.deploy.board.environment import SET_ENV, source_set_env

COMPILED = "model.om"
CHECKSUM = f"{COMPILED}.sha256"
"""Written by `atc.sh`, which does not touch `bundle.json`; for `run.sh`, and for the way back."""

MX_SET_ENV = (
    "${MX_SET_ENV:-}",
    "${MX_SDK_HOME:-/nowhere}/set_env.sh",
    "$HOME/mxVision/set_env.sh",
    "/usr/local/Ascend/mxVision/set_env.sh",
    "/usr/local/sdk_home/mxVision/set_env.sh",
)
"""Likewise for the MindX SDK, which is unpacked wherever a person likes."""


_ABOUT = """BACKEND=mindx runs the pipelines of the MindX SDK, whose set_env.sh MX_SET_ENV names where it is in an
unusual place."""


def write_ascend_script(path: Path) -> None:
    """Write `run.sh`: the tasks of the bundle, with the environment of CANN."""
    prepare = f"""export ASCEND_GLOBAL_LOG_LEVEL="${{ASCEND_GLOBAL_LOG_LEVEL:-3}}"  # errors only
if ! "$PYTHON" -c 'import acl' 2>/dev/null; then
{source_set_env("    ", SET_ENV)}
fi
if [ "$BACKEND" = mindx ] && ! "$PYTHON" -c 'import StreamManagerApi' 2>/dev/null; then
{source_set_env("    ", MX_SET_ENV)}
fi
if [ -f "$YOLOSLIM_BUNDLE/{CHECKSUM}" ]; then
    if ! (cd "$YOLOSLIM_BUNDLE" && sha256sum --check --quiet {CHECKSUM}) >&2; then
        echo "{COMPILED} is not what atc.sh compiled: copy the folder again" >&2
        exit 1
    fi
fi
"""
    write_run_script(path, "acl", _ABOUT, prepare)
