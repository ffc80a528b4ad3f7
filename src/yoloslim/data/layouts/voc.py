"""Pascal VOC: XML in `Annotations` and images in `JPEGImages`, or both side by side (LabelImg, Roboflow)."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from yoloslim.data.folders import is_image, is_side_file, key_of, unread_pictures, walk
from yoloslim.data.layouts import Found, Item, Items, Reader, Wanted, register_dataset, split_in
from yoloslim.data.names import composed, stem_of, unique_names
from yoloslim.data.packed import Paths
from yoloslim.data.reading import notes_on_unread
from yoloslim.data.voc import SPLITS, RawAnnotation, parse_annotation
from yoloslim.documents import read_list
from yoloslim.errors import DataError
from yoloslim.runner.bounded import MAX_XML_BYTES, read_bounded
from yoloslim.runner.pictures import SUFFIXES

_LOOKED_AT = 20
"""XML files of a folder that are looked at for VOC's."""
_OTHERS = {
    "taken": "annotations have no image of their name; the one that they name was taken",
    "passed": "annotations name another image that is there, too; that of their own name was taken",
}


def find(path: Path) -> Path | None:
    """The folder with `Annotations` and `JPEGImages` at most two levels down, or one with XML anywhere."""
    if not path.is_dir():
        return None
    candidates = [path, *_below(path, "*/"), *_below(path, "*/*/")]
    roots = [item for item in candidates if (item / "Annotations").is_dir() and (item / "JPEGImages").is_dir()]
    if len(roots) > 1:
        names = ", ".join(str(item.relative_to(path)) for item in roots)
        raise DataError(f"{path} holds several data sets ({names}); point data.path at one of them")
    if roots:
        return roots[0]
    xmls = (item for item in walk(path) if item.suffix.lower() == ".xml")
    return path if any(map(_is_voc, islice(xmls, _LOOKED_AT))) else None


def _is_voc(file: Path) -> bool:
    with file.open("rb") as stream:  # LabelImg writes <annotation verified="yes">
        return re.search(rb"<annotation[\s>]", stream.read(2000).replace(b"\0", b"")) is not None


def read(root: Path, wanted: Wanted) -> Found:
    """Read a folder in VOC layout; see `layouts.Found`.

    Raises:
        DataError: no XML, an image set that does not exist, or names that collide.
    """
    apart = (root / "Annotations").is_dir() and (root / "JPEGImages").is_dir()
    xml_root, image_root = (root / "Annotations", root / "JPEGImages") if apart else (root, root)
    xmls = {key_of(p, xml_root): str(p) for p in walk(xml_root) if p.suffix.lower() == ".xml"}
    index = _Images(image_root)
    sets = {name: read_image_set(root, name, xmls) for name in dict.fromkeys(wanted.values()) if name} if apart else {}
    items = Items()
    found = Found("voc", root, items, sets=sets)
    keys = _keys(xmls, sets, wanted, xml_root)
    names = dict(zip(keys, unique_names(keys), strict=True))
    if apart:
        _refuse_same_stem(keys, xmls)
        found.given = {s: s for s in SPLITS if (root / "ImageSets" / "Main" / f"{s}.txt").is_file()}
        for name in found.given.values():
            listed = read_image_set(root, name, xmls)
            sets.setdefault(name, [key for key in listed if key in names])
            if strange := [key for key in listed if key not in names]:
                unused = f"{len(strange)} names without annotation, not used: {strange[0]!a}"
                found.notes.append(f"image set '{name}' has {unused}")
    else:
        by_split = {split: [k for k in keys if split_in(k) == split] for split in SPLITS}
        sets |= {split: members for split, members in by_split.items() if members}
        found.given = {split: split for split in sets}
        if (root / "ImageSets").is_dir():
            found.notes.append("ImageSets was not used: it goes with Annotations and JPEGImages, called just so")
    used: set[str] = set()
    for key in keys:
        file = Path(xmls.get(key, xml_root / f"{key}.xml"))
        raw = _parse(key, file)
        image = index.of(key, raw)
        used.add(str(image))
        items.append(_item(names[key], image, raw, file))
    found.sets = {name: [names[key] for key in members if key in names] for name, members in sets.items()}
    if not wanted.get("train"):
        found.unlabelled = index.unused(used)
    found.notes += _notes(keys, names) + index.notes()
    return found


def read_image_set(root: Path, name: str, xmls: Mapping[str, str]) -> list[str]:
    """Keys of the annotations in `ImageSets/Main/<name>.txt`, without repeats, in the file's order.

    A trailing -1, 0 or 1 (VOC's per-class lists) and an image suffix are taken off, unless an annotation has just that
    name; blanks are part of a name. Names may be paths below the images.

    Raises:
        DataError: no such set, which lists those that exist; or no text.
    """
    folder = root / "ImageSets" / "Main"
    file = folder / f"{name}.txt"
    if not file.is_file():
        have = ", ".join(sorted(p.stem for p in folder.glob("*.txt") if not is_side_file(p.name))) or "none"
        raise DataError(f"image set '{name}' is missing in {folder}; there are: {have}")
    stems: dict[str, list[str]] = {}
    for key in xmls:
        stems.setdefault(key.rpartition("/")[2], []).append(key)
    lines = read_list(file, "image set", DataError)
    return list(dict.fromkeys(_key_of_line(composed(line), xmls, stems, file) for line in lines))


def _key_of_line(line: str, xmls: Mapping[str, str], stems: Mapping[str, Sequence[str]], file: Path) -> str:
    unflagged = re.sub(r"\s+(-1|0|1|\+1)$", "", line)
    tries = [line, unflagged, _without_suffix(line), _without_suffix(unflagged)]
    for name in [*tries, *(t.removeprefix("./").partition("JPEGImages/")[2] for t in tries)]:
        if name in xmls:
            return name
    for name in tries:
        stem = name.replace("\\", "/").rpartition("/")[2]
        if ".." not in name.split("/") and len(stems.get(stem, ())) == 1:
            return stems[stem][0]
        if len(stems.get(stem, ())) > 1:
            both = " and ".join(f"{key}.xml" for key in stems[stem][:2])
            raise DataError(f"{file}: '{line}' could be {both}; write the folder in front of the name")
    return tries[-1]


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in (*SUFFIXES, ".xml") else name


def _keys(xmls: Mapping[str, str], sets: Mapping[str, Sequence[str]], wanted: Wanted, xml_root: Path) -> list[str]:
    named = [name for name in wanted.values() if name]
    chosen = [key for name in named for key in sets.get(name, ())]
    if len(named) == len(SPLITS) or wanted.get("train"):
        return list(dict.fromkeys(chosen))
    if not xmls:
        raise DataError(f"{xml_root} holds no *.xml; is data.path the right folder?")
    return list(dict.fromkeys([*sorted(xmls), *chosen]))


def _parse(key: str, file: Path) -> RawAnnotation | DataError:
    if ".." in PurePosixPath(key).parts or key.startswith("/") or "\0" in key or len(key) > 1000:
        return DataError(f"image set names '{key[:80]}', which is no plain file name")
    try:
        return parse_annotation(file)
    except DataError as error:
        return error


def _item(name: str, image: Path | DataError, raw: RawAnnotation | DataError, file: Path) -> Item:
    if isinstance(raw, RawAnnotation) and isinstance(image, DataError):
        return Item(name, None, file, image, len(raw))
    lost = _objects_in(file) if isinstance(raw, DataError) else 0
    return Item(name, None if isinstance(image, DataError) else image, file, raw, lost)


def _objects_in(file: Path) -> int:
    """Boxes of an annotation that cannot be read."""
    try:
        return read_bounded(file, MAX_XML_BYTES).replace(b"\0", b"").count(b"<object>")
    except OSError:
        return 0


def _refuse_same_stem(keys: Sequence[str], xmls: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for key in keys:
        stem = key.rpartition("/")[2]
        if stem in seen and key in xmls:
            raise DataError(
                f"two annotations are called '{stem}': {xmls.get(seen[stem], seen[stem])} and {xmls[key]}; image sets "
                "could not tell them apart, so rename one of them"
            )
        seen[stem] = key


class _Images:
    """Image files by path and by name."""

    def __init__(self, root: Path) -> None:
        """Look at all of them; `unread` counts those of other kinds."""
        self._root, self.unread = root, unread_pictures(walk(root))
        self._paths = Paths(
            sorted(filter(is_image, walk(root)), key=lambda p: (p.suffix.lower() not in SUFFIXES[:2], p))
        )
        self._by_stem: dict[str, list[int]] = {}
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        for number, path in enumerate(self._paths):
            self._by_stem.setdefault(stem_of(path), []).append(number)

    def _called(self, stem: str, key: str = "") -> list[Path]:
        """Those of a name; of just this key, if it is given."""
        found = [self._paths[number] for number in self._by_stem.get(stem, ())]
        return [path for path in found if key_of(path, self._root) == key] if key else found

    def _note(self, what: str, stem: str, stated: str) -> None:
        self._counts[what] += 1
        self._first.setdefault(what, f"{stem}.xml names {stated!r}")

    def notes(self) -> list[str]:
        """On files that cannot be read, and annotations whose name and `<filename>` differ."""
        others = [f"{count} {_OTHERS[what]}: {self._first[what]}" for what, count in self._counts.items()]
        return others + notes_on_unread(self.unread)

    def of(self, key: str, raw: RawAnnotation | DataError) -> Path | DataError:
        """The image of an annotation: of the same path, else of the same name, else the one that it names."""
        stated = raw.filename.replace("\\", "/").rpartition("/")[2] if isinstance(raw, RawAnnotation) else ""
        stated = composed(stated)
        stem = key.rpartition("/")[2]
        matches = self._called(stem, key) or self._called(stem)
        if not matches and stated:
            matches = self._called(_without_suffix(stated))
            if len(matches) == 1:
                self._note("taken", stem, stated)
        if not matches:
            return DataError(f"image of '{stem}' is missing in {self._root}")
        if len(matches) == 1:
            if stated and _without_suffix(stated) != stem and self._called(_without_suffix(stated)):
                self._note("passed", stem, stated)
            return matches[0]
        named = [p for p in matches if composed(p.name) == stated]
        if len(named) == 1:
            return named[0]
        raise DataError(
            f"two images of one name for {stem}.xml: {matches[0]} and {matches[1]}; remove or rename the one that its "
            "boxes do not belong to"
        )

    def unused(self, used: set[str]) -> list[str]:
        """Keys of images that no annotation asked for; with the suffix where another of that key is in use."""
        spare = [(key_of(path, self._root), path) for path in self._paths if str(path) not in used]
        return sorted(k if len(self._called(stem_of(p), k)) == 1 else f"{k}{p.suffix}" for k, p in spare)


def _notes(keys: Sequence[str], names: Mapping[str, str]) -> list[str]:
    renamed = [key for key in keys if names[key] != key.rpartition("/")[2]]
    notes = []
    if renamed:
        notes.append(f"{len(renamed)} images have other names here, such as {names[renamed[0]]!r} for {renamed[0]!a}")
    return notes


def _below(path: Path, pattern: str) -> list[Path]:
    return sorted(p for p in path.glob(pattern) if not is_side_file(p.name) and not p.name.startswith("."))


register_dataset(Reader("voc", "Pascal VOC: XML and images, apart or side by side", find, read))
