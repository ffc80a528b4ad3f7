"""What an Ascend bundle holds besides those of other boards: `run.sh`, and names of its compiled model."""

from pathlib import Path

from yoloslim.deploy.board.bundle import RUNNER
from yoloslim.deploy.board.environment import SET_ENV, source_set_env
from yoloslim.files import atomic_path

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


def write_run_script(path: Path) -> None:
    """Write `run.sh`: the tasks of the bundle, with the environment of CANN."""
    text = f"""#!/usr/bin/env bash
# On the board:
#   bash run.sh detect IMAGE_SET IMAGE_DIR   images with boxes, to image_result/
#   bash run.sh speed IMAGE_SET IMAGE_DIR    latency of every stage, throughput, memory; writes nothing
#   bash run.sh eval DATASET                 VOC result files to txt_result/, mAP by VOC2007 and COCO rules
# IMAGE_SET is a text file with one image name a line, without suffix; DATASET is a folder in VOC layout (VOCdevkit/).
# BACKEND=onnxruntime runs the graph on the CPU instead, BACKEND=mindx the pipelines of the MindX SDK, whose set_env.sh
# MX_SET_ENV names where it is in an unusual place; PYTHON names another interpreter.
set -eo pipefail  # no -u: CANN's set_env.sh reads unset variables
YOLOSLIM_BUNDLE="$(cd -- "$(dirname -- "${{BASH_SOURCE[0]}}")" >/dev/null && pwd)"
export YOLOSLIM_BUNDLE
export ASCEND_GLOBAL_LOG_LEVEL="${{ASCEND_GLOBAL_LOG_LEVEL:-3}}"  # errors only
PYTHON="${{PYTHON:-python3}}"
if ! "$PYTHON" -c 'import acl' 2>/dev/null; then
{source_set_env("    ", SET_ENV)}
fi
if [ "${{BACKEND:-}}" = mindx ] && ! "$PYTHON" -c 'import StreamManagerApi' 2>/dev/null; then
{source_set_env("    ", MX_SET_ENV)}
fi
if [ -f "$YOLOSLIM_BUNDLE/{CHECKSUM}" ]; then
    if ! (cd "$YOLOSLIM_BUNDLE" && sha256sum --check --quiet {CHECKSUM}) >&2; then
        echo "{COMPILED} is not what atc.sh compiled: copy the folder again" >&2
        exit 1
    fi
fi
exec "$PYTHON" "$YOLOSLIM_BUNDLE/{RUNNER}" "$@"
"""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o755)
