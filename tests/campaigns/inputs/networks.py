"""Darknet's cfg and weights; given to `import`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.campaigns.assets import Assets
from tests.campaigns.harness import Case
from tests.models.foreign.darknet.nets import CFG


def _first(old: str, new: str) -> str:
    assert old in CFG
    return CFG.replace(old, new, 1)


BROKEN: dict[str, str | bytes] = {
    "empty": "",
    "text": "hello\n",
    "binary": bytes(range(256)),
    "two megabytes": "# x\n" * 600000,
    "no net": CFG.replace("[net]", "[convolutional]", 1),
    "two nets": CFG + "[net]\nwidth=64\n",
    "an unclosed section": _first("[maxpool]", "[maxpool"),
    "an unknown section": _first("[maxpool]", "[evil]"),
    "a key before any section": "a=1\n" + CFG,
    "no yolo": CFG.split("[yolo]")[0],
    "only a net": "[net]\nwidth=64\nheight=64\nchannels=3\n",
    "filters of 0": _first("filters=8", "filters=0"),
    "filters of -8": _first("filters=8", "filters=-8"),
    "filters of 10**9": _first("filters=8", "filters=1000000000"),
    "filters of 5000 digits": _first("filters=8", f"filters={'9' * 5000}"),
    "filters of text": _first("filters=8", "filters=many"),
    "filters of nan": _first("filters=8", "filters=nan"),
    "a kernel of 0": _first("size=3", "size=0"),
    "a kernel of 99999": _first("size=3", "size=99999"),
    "a stride of 0": _first("stride=2", "stride=0"),
    "a stride of -1": _first("stride=2", "stride=-1"),
    "an unknown activation": _first("activation=mish", "activation=evil"),
    "a shortcut beyond the beginning": _first("from=-3", "from=-99"),
    "a shortcut to itself": _first("from=-3", "from=0"),
    "a shortcut ahead": _first("from=-3", "from=50"),
    "a route beyond the beginning": _first("layers = -1, -2", "layers = -1, -222"),
    "a route to nothing": _first("layers = -1, -2", "layers ="),
    "groups of 3": _first("groups=2", "groups=3"),
    "group 9 of 2": _first("group_id=1", "group_id=9"),
    "a width of 0": _first("width=64", "width=0"),
    "a width of 65": _first("width=64", "width=65\nheight=65"),
    "a width of a billion": CFG.replace("width=64", "width=1000000000").replace("height = 64", "height=1000000000"),
    "one channel": _first("channels=3", "channels=1"),
    "classes of 0": _first("classes=2", "classes=0"),
    "classes of 10**9": CFG.replace("classes=2", "classes=1000000000"),
    "classes that disagree": _first("classes=2", "classes=3"),
    "a mask of nothing": _first("mask = 3,4,5", "mask ="),
    "a mask beyond the anchors": _first("mask = 3,4,5", "mask = 7,8,9"),
    "anchors of nan": _first("anchors = 4,5,", "anchors = nan,5,"),
    "anchors of 0": CFG.replace("anchors = 4,5,", "anchors = 0,0,"),
    "anchors of an odd number": _first("anchors = 4,5,", "anchors = 4,"),
    "a scale of 9": _first("scale_x_y = 1.05", "scale_x_y = 9"),
    "a scale of infinity": _first("scale_x_y = 1.05", "scale_x_y = inf"),
    "an unknown key": _first("filters=8", "filters=8\nevil=1"),
    "3000 sections": CFG + "[convolutional]\nfilters=8\nsize=1\n" * 3000,
    "a head that does not fit": _first("filters=21", "filters=22"),
}

RIGHT_IN_DARKNET = ("a shortcut to itself",)
"""`from=0` is the first layer there."""


def cases(assets: Assets) -> Iterator[Case]:
    """All of them."""
    weights = assets.darknet.with_suffix(".weights").read_bytes()
    for name, text in BROKEN.items():
        expected = "answered" if name in RIGHT_IN_DARKNET else "refused"
        yield Case(f"cfg/{name}", _import(text, weights), expected)  # type: ignore[arg-type]
    nan = weights[:20] + b"\xff\xff\xff\x7f" * ((len(weights) - 20) // 4)
    for name, data in {
        "empty": b"",
        "ten bytes": weights[:10],
        "only a header": weights[:20],
        "cut": weights[: len(weights) // 2],
        "cut in a number": weights[:-1],
        "four bytes more": weights + bytes(4),
        "of nan": nan,
        "of version 99": b"\x63\0\0\0\x63\0\0\0" + weights[8:],
        "text": b"weights\n" * 100,
    }.items():
        expected = "answered" if name == "of version 99" else "refused"  # only the layout of the header depends on it
        yield Case(f"cfg/weights {name}", _import(CFG, data), expected, "small")  # type: ignore[arg-type]
    yield Case("cfg/missing", _without_cfg(weights), "refused", "small.cfg")


def _import(text: str | bytes, weights: bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        (folder / "small.cfg").write_bytes(text if isinstance(text, bytes) else text.encode())
        (folder / "small.weights").write_bytes(weights)
        return ["yoloslim", "import", "small.weights", "--out", "x.safetensors"]

    return make


def _without_cfg(weights: bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        (folder / "small.weights").write_bytes(weights)
        return ["yoloslim", "import", "small.weights", "--out", "x.safetensors"]

    return make
