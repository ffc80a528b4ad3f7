"""Data sets in the layouts of YOLO, COCO, CVAT and LabelMe that are wrong in one place; given to `data check`."""

import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaigns.assets import Assets, jpeg
from tests.campaigns.harness import Case

Files = Mapping[str, str | bytes]
COUNT = 6
NAMES = [f"image{i:02d}" for i in range(COUNT)]
LONG = "x" * 5000
DEEP = "[" * 100_000 + "]" * 100_000
DIGITS = "9" * 5000


def yolo(row: str = "0 0.5 0.5 0.4 0.4", **keys: str) -> dict[str, str | bytes]:
    """A data set of YOLO; `row` stands in the first image's labels, `keys` are lines of data.yaml."""
    lines = {"path": ".", "train": "images/train", "val": "images/train", "names": "[a, b]"} | keys
    files: dict[str, str | bytes] = {"data.yaml": "".join(f"{key}: {value}\n" for key, value in lines.items())}
    files |= {f"labels/train/{name}.txt": "0 0.5 0.5 0.4 0.4\n" for name in NAMES}
    return files | {f"labels/train/{NAMES[0]}.txt": row + "\n"} | pictures("images/train")


def pictures(folder: str) -> dict[str, str | bytes]:
    """Sound ones."""
    rng = np.random.default_rng(0)
    return {f"{folder}/{name}.jpg": jpeg(rng) for name in NAMES}


def coco(change: Callable[[dict[str, Any]], Any] | None = None, text: str = "") -> dict[str, str | bytes]:
    """A data set of COCO after a change, or with this text as its file."""
    document: dict[str, Any] = {
        "images": [
            {"id": i, "file_name": f"{name}.jpg", "width": 64, "height": 48, "license": 1}
            for i, name in enumerate(NAMES)
        ],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1 + i % 2, "bbox": [5, 6, 25, 34], "area": 850, "iscrowd": 0}
            for i in range(COUNT)
        ],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    }
    if change:
        found = change(document)
        document = document if found is None else found
    return {"annotations.json": text or json.dumps(document)} | pictures("images")


def cvat(body: str = "", head: str = "", whole: str | bytes = b"") -> dict[str, str | bytes]:
    """An XML of CVAT with something in its first image, or as its declaration, or as all of it."""
    box = '<box label="a" occluded="0" xtl="5" ytl="6" xbr="30" ybr="40"></box>'
    images = [f'<image id="{i}" name="{n}.jpg" width="64" height="48">{box}</image>' for i, n in enumerate(NAMES)]
    images[0] = images[0].replace(box, body or box)
    text = f"{head}<annotations><version>1.1</version>{''.join(images)}</annotations>"
    return {"annotations.xml": whole or text} | pictures("images")


def labelme(change: Mapping[str, Any] | None = None, text: str = "") -> dict[str, str | bytes]:
    """Files of LabelMe, the first with changes."""
    shape = {"label": "a", "shape_type": "rectangle", "points": [[5, 6], [30, 40]], "flags": {}}
    files = {name.removeprefix("x/"): data for name, data in pictures("x").items()}
    for i, name in enumerate(NAMES):
        document = {"version": "5.0", "shapes": [shape], "imagePath": f"{name}.jpg", "imageData": None}
        document |= {"imageHeight": 48, "imageWidth": 64, "flags": {}} | (change or {} if i == 0 else {})
        files[f"{name}.json"] = text if text and i == 0 else json.dumps(document)
    return files


def _with(**values: Any) -> Callable[[dict[str, Any]], None]:
    """Changes `<list>_<key>` of the first entry of COCO's lists."""

    def change(document: dict[str, Any]) -> None:
        for name, value in values.items():
            where, _, key = name.partition("__")
            document[where][0][key] = value

    return change


YOLO: dict[str, Files] = {
    "a row of letters": yolo("a b c d e"),
    "a row of 3": yolo("0 1 1"),
    "a row of 100000": yolo("0 " + "0.5 " * 100_000),
    "a class of 10**300": yolo("1e300 0.5 0.5 0.1 0.1"),
    "a class of 5000 digits": yolo(f"{DIGITS} 0.5 0.5 0.1 0.1"),
    "a class beyond the names": yolo("7 0.5 0.5 0.1 0.1"),
    "a negative class": yolo("-1 0.5 0.5 0.1 0.1"),
    "nan": yolo("0 nan 0.5 0.1 0.1"),
    "infinity": yolo("0 inf 0.5 0.1 0.1"),
    "pixels": yolo("0 30 30 10 10"),
    "labels in binary": yolo() | {f"labels/train/{NAMES[0]}.txt": bytes(range(256))},
    "labels in utf-16": yolo() | {f"labels/train/{NAMES[0]}.txt": "0 0.5 0.5 0.1 0.1\n".encode("utf-16")},
    "labels that are a folder": {k: v for k, v in yolo().items() if k != f"labels/train/{NAMES[0]}.txt"}
    | {f"labels/train/{NAMES[0]}.txt/x": ""},
    "a long path": yolo(train=LONG),
    "a path with NUL": yolo(train='"images/\\0train"'),
    "a path that is a number": yolo(train="5"),
    "a path of lists": yolo(train="[[images/train]]"),
    "a path that is nowhere": yolo(train="nowhere"),
    "the path of all": yolo(train="/"),
    "the path of all processes": yolo(train="/proc"),
    "a path beyond all": yolo(train="../" * 200),
    "a list of long names": yolo(train="list.txt") | {"list.txt": f"{LONG}\n./images/train/{NAMES[0]}.jpg\n"},
    "a list of devices": yolo(train="list.txt") | {"list.txt": "/dev/zero\n/dev/stdin\n"},
    "a list with NUL": yolo(train="list.txt") | {"list.txt": "images/\0.jpg\n"},
    "a list in binary": yolo(train="list.txt") | {"list.txt": bytes(range(256))},
    "names missing": yolo(names="~"),
    "names as text": yolo(names="a b"),
    "names nested": yolo(names="[[a], {b: c}]"),
    "names with odd keys": yolo(names="{x: a}"),
    "names of 5000 digits": yolo(names=f"{{{DIGITS}: a}}"),
    "names twice": yolo(names="[a, a]"),
    "a billion names": yolo(names="~", nc="1000000000"),
    "a name of a million characters": yolo(names=f"[{'n' * 900_000}, b]"),
    "names with line breaks": yolo(names='["a\\nb", "c\\u2028d"]'),
    "an alias bomb": yolo()
    | {
        "data.yaml": "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9))
        + "names: *j\n"
    },
    "100000 brackets": yolo(names=DEEP),
    "a python object": yolo(names="!!python/object/apply:os.system ['touch pwned']"),
    "yaml in binary": yolo() | {"data.yaml": bytes(range(256))},
    "yaml that is empty": yolo() | {"data.yaml": ""},
}
COCO: dict[str, Files] = {
    "text": coco(text="no json"),
    "empty": coco(text="{}"),
    "null": coco(text="null"),
    "a list": coco(text="[]"),
    "cut": coco(text=str(coco()["annotations.json"])[:500]),
    "100000 brackets": coco(text='{"images": ' + DEEP + "}"),
    "a number of 5000 digits": coco(text=str(coco()["annotations.json"]).replace("25", DIGITS)),
    "NaN": coco(text=str(coco()["annotations.json"]).replace("25", "NaN")),
    "1e999": coco(text=str(coco()["annotations.json"]).replace("25", "1e999")),
    "a key twice": coco(text='{"images": [], ' + str(coco()["annotations.json"])[1:]),
    "images that are no list": coco(lambda d: d.update(images={"a": 1})),
    "images of text": coco(lambda d: d.update(images=["a", 5, None])),
    "no categories": coco(lambda d: d.pop("categories") and None),
    "categories of numbers": coco(lambda d: d.update(categories=[1, 2])),
    "categories twice": coco(lambda d: d["categories"].append({"id": 1, "name": "c"})),
    "a category without a name": coco(lambda d: d["categories"][0].pop("name") and None),
    **{
        f"{key} is {kind}": coco(_with(**{key: value}))
        for key in (
            *("images__id", "images__file_name", "images__width", "annotations__image_id", "annotations__category_id"),
            *("annotations__bbox", "annotations__segmentation", "annotations__iscrowd", "categories__id"),
            "categories__name",
        )
        for kind, value in {
            "null": None,
            "a list": [[1], {"a": 2}],
            "an object": {"a": 1},
            "long text": LONG,
            "negative": -5,
            "huge": 1e308,
            "true": True,
        }.items()
    },
    "a file name with NUL": coco(_with(images__file_name="a\0b.jpg")),
    "a file name that leads out": coco(_with(images__file_name="../../../../etc/passwd")),
    "a file name with a surrogate": coco(_with(images__file_name="\ud800.jpg")),
    "a category with a surrogate": coco(_with(categories__name="\ud800")),
    "a box of three": coco(_with(annotations__bbox=[1, 2, 3])),
    "a box of text": coco(_with(annotations__bbox=["a", "b", "c", "d"])),
    "one annotation 4000 times": coco(lambda d: d.update(annotations=d["annotations"] * 4000)),
}
CVAT: dict[str, Files] = {
    "cut": cvat(whole=str(cvat()["annotations.xml"])[:300]),
    "empty": cvat(whole=" "),
    "an unknown encoding": cvat(head='<?xml version="1.0" encoding="klingon"?>'),
    "utf-7": cvat(head='<?xml version="1.0" encoding="utf-7"?>'),
    "an external entity": cvat(head='<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>', body="&x;"),
    "an entity bomb": cvat(
        head="<!DOCTYPE a [<!ENTITY a0 'x'>"
        + "".join(f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 12))
        + "]>",
        body="&a11;",
    ),
    "2000 deep": cvat(body="<a>" * 200_000 + "</a>" * 200_000),
    "a box of letters": cvat('<box label="a" xtl="x" ytl="6" xbr="30" ybr="40"/>'),
    "a box of 5000 digits": cvat(f'<box label="a" xtl="{DIGITS}" ytl="6" xbr="30" ybr="40"/>'),
    "a box of nan": cvat('<box label="a" xtl="nan" ytl="6" xbr="30" ybr="40"/>'),
    "a box without corners": cvat('<box label="a"/>'),
    "a box without a label": cvat('<box xtl="5" ytl="6" xbr="30" ybr="40"/>'),
    "a polygon of nonsense": cvat('<polygon label="a" points="1,2;3;a,b"/>'),
    "a polygon of nothing": cvat('<polygon label="a" points=""/>'),
    "a polygon of a million points": cvat(f'<polygon label="a" points="{"1,2;" * 1_000_000}3,4"/>'),
    "a name with a line break": cvat(whole=str(cvat()["annotations.xml"]).replace("image00.jpg", "a&#10;b.jpg")),
    "a long name": cvat(whole=str(cvat()["annotations.xml"]).replace("image00.jpg", LONG)),
    "sides of 10**30": cvat(whole=str(cvat()["annotations.xml"]).replace('"64"', f'"{10**30}"', 1)),
    "a run-length mask of nonsense": cvat(
        '<mask label="a" rle="a, b" left="0" top="0" width="99999999" height="99999999"/>'
    ),
}
LABELME: dict[str, Files] = {
    "text": labelme(text="no json"),
    "null": labelme(text="null"),
    "100000 brackets": labelme(text=DEEP),
    "shapes of null": labelme({"shapes": None}),
    "shapes of text": labelme({"shapes": ["a", 5]}),
    "a shape without points": labelme({"shapes": [{"label": "a", "shape_type": "rectangle"}]}),
    "points of text": labelme({"shapes": [{"label": "a", "shape_type": "polygon", "points": ["a", "b"]}]}),
    "points of one": labelme({"shapes": [{"label": "a", "shape_type": "rectangle", "points": [[1, 2]]}]}),
    "points of 1e308": labelme(
        {"shapes": [{"label": "a", "shape_type": "circle", "points": [[1e308, 2], [-1e308, 3]]}]}
    ),
    "an unknown shape": labelme({"shapes": [{"label": "a", "shape_type": "blob", "points": [[1, 2], [3, 4]]}]}),
    "a label of null": labelme({"shapes": [{"label": None, "shape_type": "rectangle", "points": [[1, 2], [9, 9]]}]}),
    "a label of a list": labelme({"shapes": [{"label": [1], "shape_type": "rectangle", "points": [[1, 2], [9, 9]]}]}),
    "a path of null": labelme({"imagePath": None}),
    "a path of numbers": labelme({"imagePath": 5}),
    "a long path": labelme({"imagePath": LONG}),
    "a path with NUL": labelme({"imagePath": "a\0.jpg"}),
    "a path that leads out": labelme({"imagePath": "../../../../etc/passwd"}),
    "image data of nonsense": labelme({"imagePath": "none.jpg", "imageData": "no base64!"}),
    "image data that is a bomb": labelme(
        {"imagePath": "none.jpg", "imageData": base64.b64encode(bytes(1000)).decode() * 100}
    ),
    "sides of text": labelme({"imageHeight": "tall", "imageWidth": []}),
}


def cases(assets: Assets) -> Iterator[Case]:
    """All of them."""
    del assets
    for layout, files in (("yolo", YOLO), ("coco", COCO), ("cvat", CVAT), ("labelme", LABELME)):
        for name, each in files.items():
            yield Case(f"layouts/{layout}: {name}", _check(layout, each), "answered")
    for name, each in {"yolo": yolo(), "coco": coco(), "cvat": cvat(), "labelme": labelme()}.items():
        yield Case(f"layouts/{name}: sound", _check(name, each), "said", f"layout {name}, ")
        yield Case(f"layouts/{name}: a pipe as picture", _check(name, each, pipe=".jpg"), "answered")
        yield Case(f"layouts/{name}: a pipe as annotation", _check(name, each, pipe="annotation"), "answered")
        yield Case(f"layouts/{name}: a link to itself", _check(name, each, loop=True), "answered")


def _check(layout: str, files: Files, pipe: str = "", loop: bool = False) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        root = folder / "set"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        if pipe:
            suffix = ".jpg" if pipe == ".jpg" else {"yolo": ".txt", "cvat": ".xml"}.get(layout, ".json")
            victim = min(path for path in root.rglob(f"*{suffix}") if path.is_file())
            victim.unlink()
            os.mkfifo(victim)
        if loop:
            (root / "again").symlink_to(root)
        return ["yoloslim", "data", "check", "set"]

    return make
