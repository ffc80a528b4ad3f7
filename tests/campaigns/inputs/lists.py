"""Lists of images and of classes: image sets of `data` and `eval`, lists of `detect`, names of `import`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.campaigns.assets import Assets, data_stage
from tests.campaigns.harness import Case

SETS: dict[str, bytes] = {
    "empty": b"",
    "blank lines": b"\n \n\t\n",
    "an image that is not there": b"nowhere\n" * 3,
    "names that climb": b"../../../etc/passwd\n" * 3,
    "absolute names": b"/etc/passwd\n" * 3,
    "binary": bytes(range(256)),
    "latin-1": "bäume\n".encode("latin-1"),
    "utf-16": "image00\n".encode("utf-16"),
    "NULs": b"image\0\0\n",
    "a line of a million characters": b"n" * 10**6,
}


def cases(assets: Assets) -> Iterator[Case]:
    """All of them."""
    for name, data in SETS.items():
        expected = "answered" if name == "utf-16" else "refused"  # its mark says what it is
        for command, make in (("data", _data_set), ("eval", _eval_set), ("detect", _detect)):
            yield Case(f"lists/{command}: {name}", make(assets, data), expected)  # type: ignore[arg-type]
    yield Case("lists/data: missing", lambda folder: data_stage(folder, assets.voc(folder / "v"), train_set="no"))
    yield Case("lists/data: a name that climbs", _named(assets, "../../x"), "refused")
    yield Case("lists/eval: missing", lambda folder: _eval(assets, folder, "nothing"), hint="nothing")
    yield Case("lists/eval: a name that climbs", lambda folder: _eval(assets, folder, "../../x"))
    for name, text in {
        "empty": "",
        "twice": "a,a",
        "only commas": ",,",
        "a line separator": "a\u2028b,c",
        "too many": ",".join(f"c{i}" for i in range(100000)),
    }.items():
        expected = "answered" if name in ("a line separator", "too many", "empty") else "refused"
        yield Case(f"lists/classes: {name}", _classes(assets, text), expected)  # type: ignore[arg-type]
    for name, data in {"binary": bytes(range(256)), "empty": b"", "twice": b"a\na\n"}.items():
        yield Case(f"lists/names file: {name}", _names_file(assets, data), "refused")
    for name, data in {"binary": b"\xff\xfe\0", "too few": b"cat\n", "too many": b"a\nb\nc\n"}.items():
        yield Case(f"lists/darknet names: {name}", _darknet_names(assets, data), "refused")


def _data_set(assets: Assets, data: bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        root = assets.voc(folder / "voc")
        (root / "ImageSets/Main/train.txt").write_bytes(data)
        return data_stage(folder, root, train_set="train", val_set="val", test_set="test")

    return make


def _named(assets: Assets, name: str) -> Callable[[Path], Sequence[str]]:
    return lambda folder: data_stage(folder, assets.voc(folder / "voc"), train_set=name)


def _eval_set(assets: Assets, data: bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        root = assets.voc(folder / "voc")
        (root / "ImageSets/Main/test.txt").write_bytes(data)
        return ["yoloslim", "eval", str(assets.model), str(root)]

    return make


def _eval(assets: Assets, folder: Path, name: str) -> Sequence[str]:
    return ["yoloslim", "eval", str(assets.model), str(assets.voc(folder / "voc")), "--image-set", name]


def _detect(assets: Assets, data: bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        (folder / "list.txt").write_bytes(data)
        return ["yoloslim", "detect", str(assets.model), "list.txt", str(assets.root / "voc/JPEGImages")]

    return make


def _classes(assets: Assets, text: str) -> Callable[[Path], Sequence[str]]:
    return lambda folder: ["yoloslim", "import", str(assets.checkpoint), "--classes", text, "--out", "x.safetensors"]


def _names_file(assets: Assets, data: bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        (folder / "names.txt").write_bytes(data)
        return ["yoloslim", "import", str(assets.checkpoint), "--classes", "names.txt", "--out", "x.safetensors"]

    return make


def _darknet_names(assets: Assets, data: bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        for path in (assets.darknet, assets.darknet.with_suffix(".weights")):
            assets.copy(path, folder)
        (folder / "small.names").write_bytes(data)
        return ["yoloslim", "import", "small.weights", "--out", "x.safetensors"]

    return make
