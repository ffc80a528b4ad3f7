"""The stage `data`: any source in, one prepared folder and its validation report out."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yoloslim.config import DataParams
from yoloslim.data import download
from yoloslim.data.archives import extract_tar
from yoloslim.data.convert import Source, convert_voc
from yoloslim.data.scenes.generate import generate_scenes
from yoloslim.data.voc import VOC_CLASSES
from yoloslim.errors import DataError
from yoloslim.files import atomic_folder, write_json


def prepare(params: DataParams, out: Path) -> dict[str, Any]:
    """Make the prepared folder `out` from the source that `params` names; see `voc` for its layout.

    A list `params.classes`, where there is one, fixes the classes of the source `voc`; otherwise they are collected
    from the data.

    Returns:
        The validation report, which is also `out/report.json`. `out` appears whole or not at all.

    Raises:
        DataError: an unusable source; the message says what to change.
    """
    with atomic_folder(out) as folder:
        if params.source == "scenes":
            report = _scenes(params, folder)
        elif params.source in ("voc", "voc2007"):
            with _opened(params, out) as (root, owned):
                report = convert_voc(_source(params, root, owned), folder)
        else:
            raise DataError(f"data.source='{params.source}' is unknown; take scenes, voc2007 or voc")
        write_json(folder / "report.json", report)
    return report


def _scenes(params: DataParams, folder: Path) -> dict[str, Any]:
    counts = {"train": params.train_images, "val": params.val_images, "test": params.test_images}
    return generate_scenes(folder, params.seed, params.imgsz, counts, params.workers)


def _source(params: DataParams, root: Path, owned: bool) -> Source:
    is_voc2007 = params.source == "voc2007"
    named = {"train": params.train_set, "val": params.val_set, "test": params.test_set}
    if is_voc2007:
        official = {"train": "trainval", "val": "test", "test": "test"}
        named = {split: name or official[split] for split, name in named.items()}
    return Source(
        name=params.source,
        root=root,
        owned=owned,
        sets=named,
        shares={"val": params.val_share, "test": params.test_share},
        seed=params.seed,
        classes=VOC_CLASSES if is_voc2007 else tuple(getattr(params, "classes", ())),
        min_box_px=params.min_box_px,
        workers=params.workers,
    )


@contextmanager
def _opened(params: DataParams, out: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the folder that holds `Annotations`, and whether its files may be moved away."""
    if params.source == "voc" and not params.path:
        raise DataError("data.path is empty; name a folder or tar in VOC layout, or take data.source=scenes")
    path = Path(params.path)
    if params.source == "voc" and path.is_dir():
        yield _find_root(path), False
        return
    archives = download.fetch_voc2007(params) if params.source == "voc2007" else [path]
    # Beside `out`, so that files can be moved into it instead of being copied over from another disk.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.extract.", dir=out.parent) as unpacked:
        for archive in archives:
            extract_tar(archive, Path(unpacked))
        yield _find_root(Path(unpacked)), True


def _find_root(folder: Path) -> Path:
    candidates = [folder, *sorted(folder.glob("*/")), *sorted(folder.glob("*/*/"))]
    roots = [item for item in candidates if (item / "Annotations").is_dir() and (item / "JPEGImages").is_dir()]
    if not roots:
        raise DataError(f"{folder} has no VOC layout: folders Annotations and JPEGImages, at most two levels down")
    if len(roots) > 1:
        names = ", ".join(str(item.relative_to(folder)) for item in roots)
        raise DataError(f"{folder} holds several data sets ({names}); point data.path at one of them")
    return roots[0]
