"""The folder that goes to a board: model, facts, runner, `run.sh`, MindX files; `bundle.json` holds all checksums."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

from yoloslim import runner
from yoloslim.choices import AippInput
from yoloslim.deploy.manifest import Manifest
from yoloslim.deploy.quoting import quote
from yoloslim.files import atomic_path, sha256_file, write_json

RUNNER = "runner.pyz"
BUNDLE = "bundle.json"
COMPILED = "model.om"
CHECKSUM = f"{COMPILED}.sha256"
"""Written by `atc.sh`, which does not touch `bundle.json`; for `run.sh`, and for the way back."""

SET_ENV = (
    "/usr/local/Ascend/ascend-toolkit/set_env.sh",
    "$HOME/Ascend/ascend-toolkit/set_env.sh",
    "/usr/local/Ascend/nnrt/set_env.sh",
    "$HOME/Ascend/nnrt/set_env.sh",
    "/usr/local/Ascend/cann/set_env.sh",
)
"""Where CANN's installers put the script that sets the environment; a board has the runtime (nnrt) only."""

MX_SET_ENV = (
    "${MX_SET_ENV:-}",
    "${MX_SDK_HOME:-/nowhere}/set_env.sh",
    "$HOME/mxVision/set_env.sh",
    "/usr/local/Ascend/mxVision/set_env.sh",
    "/usr/local/sdk_home/mxVision/set_env.sh",
)
"""Likewise for the MindX SDK, which is unpacked wherever a person likes."""

_MAIN = "import sys\n\nfrom yoloslim_runner.__main__ import main\n\nsys.exit(main())\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that zip knows: the same sources give the same bytes


def write_runner(path: Path) -> None:
    """Pack `yoloslim.runner` into one executable archive for `python3 runner.pyz`."""
    folder = Path(runner.__file__).parent
    sources = sorted(folder.rglob("*.py"))
    members = {
        f"yoloslim_runner/{source.relative_to(folder).as_posix()}": source.read_text(encoding="utf-8")
        for source in sources
    }
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {"__main__.py": _MAIN, **members}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), text, zipfile.ZIP_DEFLATED)


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
{source_set_env("    ")}
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


def source_set_env(indent: str = "", scripts: Sequence[str] = SET_ENV) -> str:
    """Shell lines that source the first of these scripts that is there; `$HOME` in it is the reader's."""
    candidates = " ".join(f'"{candidate}"' for candidate in scripts)
    lines = (f"for env in {candidates}; do", '    if [ -f "$env" ]; then source "$env"; break; fi', "done")
    return "\n".join(indent + line for line in lines)


def source_named(script: str) -> str:
    """A shell line that sources a script that a person named, or ends with a sentence if it is not there."""
    missing = f"{script} is missing: ascend.set_env"
    return f"if [ ! -f {quote(script)} ]; then {quote('echo', missing)} >&2; exit 1; fi; source -- {quote(script)}"


def write_bundle(
    folder: Path,
    manifest: Manifest,
    files: Sequence[str],
    aipp_input: AippInput,
    soc_version: str,
    gears: Sequence[int],
) -> None:
    """Write `bundle.json`: all that the runner must know, and the checksums of `files`, which are in `folder`."""
    facts = {
        "version": 2,
        "graph": manifest.file,
        "input_name": manifest.input_name,
        "outputs": [{"name": output.name, "shape": output.shape[1:]} for output in manifest.heads],
        "imgsz": manifest.imgsz,
        "classes": list(manifest.classes),
        "head": manifest.head.facts(),
        "letterbox_align": manifest.letterbox_align,
        "letterbox_fill": manifest.letterbox_fill,
        "aipp_input": aipp_input,
        "soc_version": soc_version,
        "gears": list(gears),
        "files": {name: sha256_file(folder / name) for name in files},
    }
    write_json(folder / BUNDLE, facts)
