"""Annotations in XML: entity bombs, odd encodings, numbers that are none; given to `data`, `eval` and `run.sh eval`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.campaigns.assets import XML, Assets, data_stage
from tests.campaigns.harness import Case

GOOD = XML.format(name="image00", label="a")
LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x0 "ha">'
    + "".join(f'<!ENTITY x{i} "{f"&x{i - 1};" * 10}">' for i in range(1, 12))
    + "]><annotation><object><name>&x11;</name></object></annotation>"
)


def _box(**values: str) -> str:
    numbers = {"xmin": "5", "ymin": "6", "xmax": "30", "ymax": "40"} | values
    corners = "".join(f"<{k}>{v}</{k}>" for k, v in numbers.items() if v is not None)
    return f"<annotation><object><name>a</name><bndbox>{corners}</bndbox></object></annotation>"


BROKEN: dict[str, str | bytes] = {
    "empty": "",
    "blanks": "  \n",
    "text": "hello",
    "json": '{"annotation": {}}',
    "cut short": GOOD[: len(GOOD) // 2],
    "unclosed": GOOD.replace("</object>", ""),
    "another root": GOOD.replace("annotation>", "note>"),
    "two roots": GOOD + GOOD,
    "billion laughs": LAUGHS,
    "quadratic blow-up": f'<!DOCTYPE a [<!ENTITY x "{"x" * 50000}">]><annotation>{"&x;" * 5000}</annotation>',
    "external entity": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><object><name>&x;</name>'
    "</object></annotation>",
    "unknown encoding": f'<?xml version="1.0" encoding="klingon"?>{GOOD}',
    "a codec that is no text": f'<?xml version="1.0" encoding="hex"?>{GOOD}',
    "a multi-byte codec": f'<?xml version="1.0" encoding="utf-7"?>{GOOD}',
    "not the encoding it says": b'<?xml version="1.0" encoding="utf-8"?>'
    + GOOD.replace(">a<", ">\xe4<").encode("latin-1"),
    "a NUL": GOOD.replace(">a<", ">a\0<"),
    "control characters": GOOD.replace(">a<", ">\x01\x02<"),
    "random bytes": bytes(range(256)) * 20,
    "object without name": GOOD.replace("<name>a</name>", ""),
    "object with an empty name": GOOD.replace("<name>a</name>", "<name> </name>"),
    "object without box": "<annotation><object><name>a</name></object></annotation>",
    "box without xmin": _box(xmin=None),  # type: ignore[arg-type]
    "box of words": _box(xmin="five"),
    "box of nan": _box(xmax="nan"),
    "box of inf": _box(xmax="inf"),
    "box of -inf": _box(xmin="-inf"),
    "box of hexadecimals": _box(xmin="0x10"),
    "box of 400 digits": _box(xmax="9" * 400),
    "box of 5000 digits": _box(xmax="9" * 5000),
    "box with a comma": _box(xmin="5,5"),
    "box in a box": _box(xmin="<b>5</b>"),
}
"""Files of which nothing can be believed: left out by `data`, refused by `eval`."""

ODD: dict[str, str | bytes] = {
    "utf-16 without a mark": GOOD.encode("utf-16-le"),
    "external DTD": f'<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/a.dtd">{GOOD}',
    "deeply nested": "<annotation>" + "<a>" * 20000 + "</a>" * 20000 + "</annotation>",
    "100000 attributes": "<annotation " + " ".join(f'a{i}="1"' for i in range(100000)) + "/>",
    "a size of 5000 digits": GOOD.replace(">64<", f">{'9' * 5000}<"),
    "a size in other digits": GOOD.replace(">64<", ">\u0666\u0664<"),
    "a superscript as size": GOOD.replace(">64<", ">\u00b2<"),
    "no size": "<annotation/>",
    "a name of a million characters": GOOD.replace(">a<", f">{'n' * 10**6}<"),
    "20000 objects": "<annotation>" + _box()[len("<annotation>") : -len("</annotation>")] * 20000 + "</annotation>",
    "a box of 1e308": _box(xmax="1e308"),
    "a box of 1e-320": _box(xmin="1e-320"),
    "swapped corners": _box(xmin="40", xmax="5"),
    "a box outside": _box(xmin="500", xmax="600"),
    "a box of other digits": _box(xmin="\u0665"),
    "a box with underscores": _box(xmax="3_0"),
}
"""Files that may be left out, or read with what is wrong dropped; never a traceback."""

NAMES = {
    "newline": "a\nb",
    "carriage return": "a&#13;b",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "vertical tab": "a&#11;b",
    "slash": "a/b",
    "dots": "..",
    "hash": "#a",
    "blanks": " a  b ",
    "right to left": "a\u202eb",
    "shell": "$(touch pwned)",
    "quote": "a'b\"c",
    "html": "&lt;script&gt;alert(1)&lt;/script&gt;",
    "very long": "n" * 300,
    "lone zero width": "\u200b",
    "comma": "a,b",
    "percent": "%s%n",
    "backslash": "a\\b",
}
"""Class names that later stages would stumble over: settled in the data stage, or refused with a sentence."""


def cases(assets: Assets) -> Iterator[Case]:
    """All of them."""
    for name, text in BROKEN.items():
        yield Case(f"xml/data: {name}", _data(assets, text), "said", "image00")
        yield Case(f"xml/eval: {name}", _eval(assets, text), "refused", "image10")
    for name in ("billion laughs", "cut short", "unknown encoding", "box of nan", "box of 5000 digits"):
        yield Case(f"xml/run.sh eval: {name}", _board(assets, BROKEN[name]), "refused", "image10")
    for name, text in ODD.items():
        yield Case(f"xml/data: {name}", _data(assets, text), "answered")
    for name, label in NAMES.items():
        yield Case(f"xml/class name: {name}", _data(assets, GOOD.replace(">a<", f">{label}<")), "answered")
    yield Case("xml/eval: unknown class", _eval(assets, GOOD.replace(">a<", ">zebra<")), "refused", "zebra")
    yield Case("xml/a folder", _folder(assets), "said", "image00")
    yield Case("xml/most files broken", _most(assets), "refused", "cannot be used")


def _write(path: Path, text: str | bytes) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))


def _data(assets: Assets, text: str | bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        root = assets.voc(folder / "voc")
        _write(root / "Annotations" / "image00.xml", text)
        return data_stage(folder, root)

    return make


def _eval(assets: Assets, text: str | bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        root = assets.voc(folder / "voc")
        _write(root / "Annotations" / "image10.xml", text)
        return ["yoloslim", "eval", str(assets.model), str(root)]

    return make


def _board(assets: Assets, text: str | bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        bundle = assets.copy(assets.bundle, folder)
        root = assets.voc(folder / "voc")
        _write(root / "Annotations" / "image10.xml", text)
        (folder / "bundle.json").symlink_to(bundle / "bundle.json")
        for file in bundle.iterdir():
            if not (folder / file.name).exists():
                (folder / file.name).symlink_to(file)
        return ["python", "-m", "yoloslim.runner", "--backend", "onnxruntime", "eval", str(root)]

    return make


def _folder(assets: Assets) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        root = assets.voc(folder / "voc")
        (root / "Annotations" / "image00.xml").unlink()
        (root / "Annotations" / "image00.xml").mkdir()
        return data_stage(folder, root)

    return make


def _most(assets: Assets) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        root = assets.voc(folder / "voc")
        for i in range(6):
            (root / "Annotations" / f"image{i:02d}.xml").write_text("<annotation>")
        return data_stage(folder, root)

    return make
