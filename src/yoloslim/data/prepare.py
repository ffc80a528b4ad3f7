"""The stage `data`: any source in, one prepared folder and its validation report out."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from yoloslim.config import DataParams
from yoloslim.data import download
from yoloslim.data.archives import extract
from yoloslim.data.convert import Source, convert
from yoloslim.data.folders import contents, is_side_file
from yoloslim.data.layouts import Found, Reader, check_layout, named, readers
from yoloslim.data.names import settle_class
from yoloslim.data.scenes.generate import generate_scenes
from yoloslim.data.voc import SPLITS, VOC_CLASSES
from yoloslim.errors import DataError
from yoloslim.files import atomic_folder, scratch_folder, write_json

logger = logging.getLogger(__name__)

DRAWN = ("scenes", "voc2007", "auto")
"""Sources besides the layouts."""


def prepare(params: DataParams, out: Path) -> dict[str, Any]:
    """Make the prepared folder `out` from the source that `params` names; see `voc` for its layout.

    A list `params.classes`, where there is one, fixes the classes; otherwise they are the layout's own, or collected
    from the data.

    Returns:
        The validation report, which is also `out/report.json`. `out` appears whole or not at all.

    Raises:
        DataError: an unusable source; the message says what to change.
    """
    with atomic_folder(out) as folder:
        if params.source == "scenes":
            report = _scenes(params, folder)
        elif params.source in (*DRAWN, *readers()):
            with _opened(params, out) as (root, owned, notes):
                found = read_layout(root, "voc" if params.source == "voc2007" else params.source, _sets(params))
                found.notes[:0] = notes
                report = convert(_source(params, found, owned), found, folder)
        else:
            names = ", ".join(dict.fromkeys((*DRAWN, *readers())))
            raise DataError(f"data.source='{params.source}' is unknown; take one of {names}")
        write_json(folder / "report.json", report)
    return report


def read_layout(path: Path, name: str, sets: dict[str, str]) -> Found:
    """Read a folder or file by the layout `name`; `auto` takes the first that fits.

    Raises:
        DataError: none fits; or see the readers.
    """
    known = readers()
    check_layout(name)
    candidates = list(known.values()) if name == "auto" else [known[name]]
    path = _only_folder(path)
    fits: list[tuple[Reader, Path]] = []
    for reader in candidates:
        with suppress(DataError) if fits else nullcontext():
            with named(reader, path):
                root = reader.find(path)
            if root is not None:
                fits.append((reader, root))
    if not fits:
        looked = "; ".join(f"{reader.name} ({reader.about})" for reader in candidates)
        raise DataError(f"{path} has no layout that was looked for: {looked}. {contents(path)}")
    reader, root = fits[0]
    with named(reader, root):
        found = reader.read(root, sets)
        if not isinstance(found, Found):
            raise DataError(f"layout {reader.name}: `read` gave a {type(found).__name__}, and no layouts.Found")
    if len(fits) > 1:
        others = ", ".join(other.name for other, _ in fits[1:])
        found.notes.append(f"read as {reader.name}; it could be {others} too: data.source chooses")
    return found


def look(params: DataParams, scratch: Path, use: Callable[[Found | None], None]) -> None:
    """Give `use` what the reader of a layout finds in a set, or None where it can read nothing.

    Args:
        params: which set.
        scratch: archives are unpacked beside it while `use` runs.
        use: what looks at it.
    """
    with ExitStack() as stack:
        found = None
        with suppress(DataError):
            root, _, _ = stack.enter_context(_opened(params, scratch))
            found = read_layout(root, params.source, _sets(params))
        use(found)


def _only_folder(path: Path) -> Path:
    """The folder that all others are only wrapped around, as archives have it."""
    for _ in range(4):
        if not path.is_dir():
            break
        items = [p for p in path.iterdir() if not is_side_file(p.name)]
        if len(items) != 1 or not items[0].is_dir() or items[0].name == "Annotations":
            break
        path = items[0]
    return path


def _scenes(params: DataParams, folder: Path) -> dict[str, Any]:
    counts = {"train": params.train_images, "val": params.val_images, "test": params.test_images}
    return generate_scenes(folder, params.seed, params.imgsz, counts, params.workers)


def _sets(params: DataParams) -> dict[str, str]:
    named = {"train": params.train_set, "val": params.val_set, "test": params.test_set}
    if params.source == "voc2007":
        official = {"train": "trainval", "val": "test", "test": "test"}
        named = {split: name or official[split] for split, name in named.items()}
    return named


def _source(params: DataParams, found: Found, owned: bool) -> Source:
    is_voc2007 = params.source == "voc2007"
    classes = VOC_CLASSES if is_voc2007 else tuple(map(settle_class, getattr(params, "classes", ())))
    source = Source(
        name=params.source,
        owned=owned,
        sets=_sets(params),
        shares={"val": params.val_share, "test": params.test_share},
        seed=params.seed,
        classes=classes,
        min_box_px=params.min_box_px,
        workers=params.workers,
    )
    if any(source.sets.values()) or (params.source == "voc" and (found.root / "Annotations").is_dir()):
        return source  # plain `voc` splits by the shares unless sets are named
    missing = [split for split in SPLITS if split not in found.given]
    if "train" in found.given and missing:
        found.notes.append(f"the data set has no split {' or '.join(missing)}: cut off train by its share")
    return replace(source, sets={split: found.given.get(split, "") for split in SPLITS})


@contextmanager
def _opened(params: DataParams, out: Path) -> Iterator[tuple[Path, bool, list[str]]]:
    """Yield the data set's folder or file, whether its files may be moved away, and notes."""
    if params.source != "voc2007" and not params.path:
        raise DataError("data.path is empty; name a folder or archive, or take data.source=scenes")
    if re.match(r"https?:/", params.path):  # paths have lost the second slash by then
        address = re.sub(":/+", "://", params.path, count=1)
        raise DataError(f"data.path {address} is an address: download it, and name the file or folder here")
    path = located(Path(params.path).expanduser()) if params.source != "voc2007" else Path()
    if params.source != "voc2007" and (path.is_dir() or _is_description(path)):
        yield path, False, []
        return
    if params.source != "voc2007" and not path.exists():
        raise DataError(f"data.path {path} is missing; name a folder, an archive (tar, zip), a data.yaml or a JSON")
    if params.source != "voc2007" and not path.is_file():
        raise DataError(f"data.path {path} is a pipe or a device, and no folder or archive")
    archives = download.fetch_voc2007(params) if params.source == "voc2007" else [path]
    # Beside `out`, so that files can be moved into it instead of being copied over from another disk.
    with scratch_folder(out.with_name(f"{out.name}.extract")) as unpacked:
        notes = [note for archive in archives for note in extract(archive, unpacked)]
        try:
            yield unpacked, True, notes
        except DataError as error:
            raise DataError(str(error).replace(str(unpacked), str(archives[0]))) from error


def _is_description(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".yaml", ".yml", ".json", ".xml")


def located(path: Path) -> Path:
    """A relative path that is not here, in the project that `dvc exp run --temp` copied this folder from."""
    here = Path.cwd()
    if path.is_absolute() or path.exists() or ".dvc" not in here.parts:
        return path
    parts = here.parts
    original = Path(*parts[: len(parts) - 1 - parts[::-1].index(".dvc")]) / path
    if original.exists():
        logger.info("data.path %s is not in this copy of the project: taken from %s", path, original)
        return original
    return path
