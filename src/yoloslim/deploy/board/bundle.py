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
