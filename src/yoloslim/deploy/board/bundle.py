"""What every bundle for a board holds besides its model: the runner, and `bundle.json` with facts and checksums."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

from yoloslim import runner
from yoloslim.choices import AippInput
from yoloslim.deploy.manifest import Manifest
from yoloslim.files import atomic_path, sha256_file, write_json

RUNNER = "runner.pyz"
BUNDLE = "bundle.json"
RUN = "run.sh"

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


def write_run_script(path: Path, backend: str, about: str = "", prepare: str = "") -> None:
    """Write `run.sh`: the tasks of the bundle.

    Args:
        path: of the script.
        backend: what runs them unless BACKEND names another.
        about: further lines of comment, without the `#`.
        prepare: shell lines that bring a maker's environment; they may use PYTHON and YOLOSLIM_BUNDLE.
    """
    comment = "".join(f"# {line}\n" for line in about.splitlines())
    text = f"""#!/usr/bin/env bash
# On the board:
#   bash run.sh detect IMAGE_SET IMAGE_DIR   images with boxes, to image_result/
#   bash run.sh speed IMAGE_SET IMAGE_DIR    latency of every stage, throughput, memory; writes nothing
#   bash run.sh eval DATASET                 VOC result files to txt_result/, mAP by VOC2007 and COCO rules
# IMAGE_SET is a text file with one image name a line, without suffix; DATASET is a folder in VOC layout (VOCdevkit/).
# BACKEND=onnxruntime runs the graph on the CPU instead; PYTHON names another interpreter.
{comment}set -eo pipefail  # no -u: makers' scripts read unset variables
YOLOSLIM_BUNDLE="$(cd -- "$(dirname -- "${{BASH_SOURCE[0]}}")" >/dev/null && pwd)"
BACKEND="${{BACKEND:-{backend}}}"
export YOLOSLIM_BUNDLE BACKEND
PYTHON="${{PYTHON:-python3}}"
{prepare}exec "$PYTHON" "$YOLOSLIM_BUNDLE/{RUNNER}" "$@"
"""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o755)


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
