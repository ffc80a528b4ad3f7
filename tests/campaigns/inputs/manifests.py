"""Exports and their manifests, ONNX files of others, bundles of boards and their JSON."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.campaigns.assets import Assets, edited_json
from tests.campaigns.harness import Case

Change = Callable[[Any], Any]
TEXTS: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"{nonsense",
    "a list": b"[]",
    "a number": b"5",
    "null": b"null",
    "100000 brackets": b"[" * 100000,
    "binary": bytes(range(256)),
    "a number of 5000 digits": b'{"version": ' + b"9" * 5000 + b"}",
    "nan": b'{"version": NaN}',
}
CHANGES: dict[str, Change] = {
    "version 99": lambda m: m.update(version=99),
    "no classes": lambda m: m.update(classes=[]),
    "another class": lambda m: m.update(classes=[*m["classes"], "more"]),
    "a class less": lambda m: m.update(classes=m["classes"][:1]),
    "a class name of shell": lambda m: m.update(classes=["$(touch pwned)", "b"]),
    "a class name that climbs": lambda m: m.update(classes=["../../x", "b"]),
    "no files": lambda m: m.update(files={}),
    "a file that climbs": lambda m: m.update(files={"../model.onnx": "0" * 64}),
    "a file of two dots": lambda m: m.update(files={"..": "0" * 64}),
    "a file of shell": lambda m: m.update(files={"$(touch pwned).onnx": "0" * 64}),
    "a file with a newline": lambda m: m.update(files={"a\nb.onnx": "0" * 64}),
    "a file of 5000 characters": lambda m: m.update(files={"n" * 5000: "0" * 64}),
    "a file with a NUL": lambda m: m.update(files={"a\0b": "0" * 64}),
    "a wrong hash": lambda m: m.update(files={"model.onnx": "0" * 64}),
    "a missing file": lambda m: m.update(files={"other.onnx": "0" * 64}),
    "an input of 0": lambda m: m.update(input_shape=[1, 3, 0, 0]),
    "an input of a million": lambda m: m.update(input_shape=[1, 3, 10**6, 10**6]),
    "an input of another size": lambda m: m.update(input_shape=[1, 3, 96, 96]),
    "an input that is not square": lambda m: m.update(input_shape=[1, 3, 64, 96]),
    "an input of one channel": lambda m: m.update(input_shape=[1, 1, 64, 64]),
    "another input name": lambda m: m.update(input_name="x; rm -rf"),
    "no heads": lambda m: m.update(heads=[]),
    "a head less": lambda m: m.update(heads=m["heads"][:-1]),
    "a head of another name": lambda m: m["heads"][0].update(name="nothing"),
    "a head of another shape": lambda m: m["heads"][0].update(shape=[1, 1, 1, 1, 1]),
    "a head of -5": lambda m: m["heads"][0].update(shape=[1, -5, 8, 8, 7]),
    "anchors of nan": lambda m: m["head"].update(anchors=[[[float("nan"), 1]] * 2] * 3),
    "anchors of -1": lambda m: m["head"].update(anchors=[[[-1, -1]] * 2] * 3),
    "anchors missing": lambda m: m["head"].update(anchors=m["head"]["anchors"][:1]),
    "strides of 0": lambda m: m["head"].update(strides=[0, 0, 0]),
    "strides missing": lambda m: m["head"].update(strides=[8]),
    "an unknown key": lambda m: m.update(evil=1),
    "an unknown format": lambda m: m.update(format="pickle"),
    "an opset of text": lambda m: m.update(opset="eleven"),
    "a fill of 999": lambda m: m.update(letterbox_fill=999),
}
BUNDLE: dict[str, Change] = {
    "version 99": lambda m: m.update(version=99),
    "no classes": lambda m: m.pop("classes"),
    "a graph that climbs": lambda m: m.update(graph="../../../etc/passwd"),
    "no files": lambda m: m.update(files={}),
    "files as a list": lambda m: m.update(files=[1]),
    "a wrong hash": lambda m: m.update(files=dict.fromkeys(m["files"], "0" * 64)),
    "imgsz of 0": lambda m: m.update(imgsz=0),
    "imgsz of text": lambda m: m.update(imgsz="64"),
    "imgsz of a million": lambda m: m.update(imgsz=10**6),
    "anchors missing": lambda m: m["head"].update(anchors=[]),
    "strides of 0": lambda m: m["head"].update(strides=[0, 0, 0]),
    "an unknown kind of head": lambda m: m["head"].update(kind="os"),
    "an unknown input": lambda m: m.update(aipp_input="evil"),
    "no heads": lambda m: m.update(outputs=[]),
}


def cases(assets: Assets) -> Iterator[Case]:
    """All of them."""
    image = str(assets.root / "voc/JPEGImages/image00.jpg")
    for name, data in TEXTS.items():
        yield Case(f"manifests/detect: {name}", _text(assets, data, "detect", image), "refused", "manifest.json")
        yield Case(f"json/bundle: {name}", _bundle_text(assets, data), "refused", "bundle.json")
        yield Case(f"json/job: {name}", _job(assets, data), "refused")
    for name, change in CHANGES.items():
        yield Case(f"manifests/compile: {name}", _changed(assets, change, "compile"), _of_class(name))
        yield Case(f"manifests/detect: {name}", _changed(assets, change, "detect", image), _of_class(name))
    for name, change in BUNDLE.items():
        yield Case(f"json/bundle: {name}", _bundle(assets, change), "refused")
    for name in ("version 99", "a file that climbs", "another class", "an input of another size"):
        yield Case(f"manifests/quantize: {name}", _changed(assets, CHANGES[name], "quantize", str(Path(image).parent)))
    onnx = (assets.export / "model.onnx").read_bytes()
    for name, data in {
        "empty": b"",
        "text": b"no graph",
        "cut": onnx[: len(onnx) // 2],
        "a flipped byte at the beginning": onnx[:3] + b"\xff" + onnx[4:],
        "a flipped byte in the weights": onnx[: len(onnx) // 2] + b"\xff\xfe" + onnx[len(onnx) // 2 + 2 :],
        "a picture": Path(image).read_bytes(),
    }.items():
        yield Case(f"models/onnx detect: {name}", _damaged_graph(assets, data, image), "refused", "model.onnx")
        expected = "answered" if "weights" in name else "refused"
        yield Case(f"models/onnx adopt: {name}", _adopt(assets, data), expected, "theirs.onnx")  # type: ignore[arg-type]
    yield Case("models/onnx adopt: external data that climbs", _external(assets), "refused", "theirs.onnx")
    yield Case("models/onnx adopt: another network", _other_network(assets), "refused", "heads")
    yield Case("manifests/compile: soc of shell", _soc(assets, "Ascend310;touch pwned"), "refused")
    yield Case("manifests/compile: soc of substitution", _soc(assets, "$(touch pwned)"), "refused")
    yield Case("manifests/compile: soc of an option", _soc(assets, "--help"), "refused")
    yield Case("manifests/compile: soc of a newline", _soc(assets, "Ascend310\ntouch pwned"), "refused")


def _of_class(name: str) -> Any:
    return "answered" if name in ("a class name of shell", "a class name that climbs") else "refused"


def _text(assets: Assets, data: bytes, command: str, *arguments: str) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        (assets.copy(assets.export, folder) / "manifest.json").write_bytes(data)
        return ["yoloslim", command, "export", *arguments]

    return make


def _changed(assets: Assets, change: Change, command: str, *arguments: str) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        edited_json(assets.copy(assets.export, folder) / "manifest.json", change)
        return ["yoloslim", command, "export", *arguments]

    return make


def _soc(assets: Assets, soc: str) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        assets.copy(assets.export, folder)
        return ["yoloslim", "compile", "export", f"--soc-version={soc}"]

    return make


def _run_sh(assets: Assets, folder: Path) -> Sequence[str]:
    """What `run.sh` calls, inside the bundle's folder, which is this one."""
    names = folder / "list.txt"
    names.write_text("image00\n")
    return [
        "python",
        "-m",
        "yoloslim.runner",
        "--backend",
        "onnxruntime",
        "detect",
        str(names),
        str(assets.root / "voc/JPEGImages"),
    ]


def _in_bundle(assets: Assets, folder: Path) -> None:
    for file in assets.bundle.iterdir():
        assets.copy(file, folder)


def _bundle_text(assets: Assets, data: bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        _in_bundle(assets, folder)
        (folder / "bundle.json").write_bytes(data)
        return _run_sh(assets, folder)

    return make


def _bundle(assets: Assets, change: Change) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        _in_bundle(assets, folder)
        edited_json(folder / "bundle.json", lambda m: change(m) and None)
        return _run_sh(assets, folder)

    return make


def _job(assets: Assets, data: bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        _in_bundle(assets, folder)
        (folder / "job.json").write_bytes(data)
        return ["python", "-m", "yoloslim.runner", "job", "."]

    return make


def _damaged_graph(assets: Assets, data: bytes, image: str) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        (assets.copy(assets.export, folder) / "model.onnx").write_bytes(data)
        return ["yoloslim", "detect", "export", image]

    return make


def _adopt(assets: Assets, data: bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        (folder / "theirs.onnx").write_bytes(data)
        return ["yoloslim", "export", "theirs.onnx", "--like", str(assets.model), "--out", "out"]

    return make


def _external(assets: Assets) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        import onnx

        graph = onnx.load(assets.export / "model.onnx")
        weight = max(graph.graph.initializer, key=lambda w: len(w.raw_data))
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", "../../../../etc/passwd"), ("offset", "0"), ("length", "100")):
            weight.external_data.add(key=key, value=value)
        (folder / "theirs.onnx").write_bytes(graph.SerializeToString())
        return ["yoloslim", "export", "theirs.onnx", "--like", str(assets.model), "--out", "out"]

    return make


def _other_network(assets: Assets) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        import onnx
        from onnx import TensorProto, helper

        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 64])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 64, 64])
        graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)]), folder / "theirs.onnx")
        return ["yoloslim", "export", "theirs.onnx", "--like", str(assets.model), "--out", "out"]

    return make


def dump(value: Any) -> bytes:
    """JSON."""
    return json.dumps(value).encode()
