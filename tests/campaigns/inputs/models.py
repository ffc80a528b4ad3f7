"""Our own model files: damaged, of others, absurd; given to `inspect`, `prune`, `export`, `detect`."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.campaigns.assets import Assets
from tests.campaigns.harness import Case

Header = dict[str, Any]


def _split(data: bytes) -> tuple[Header, bytes]:
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def _join(header: Header | str | bytes, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    return len(text).to_bytes(8, "little") + text + body


def cases(assets: Assets) -> Iterator[Case]:
    """All of them."""
    data = assets.model.read_bytes()
    header, body = _split(data)
    spec = json.loads(header["__metadata__"]["spec"])

    def respecced(change: Callable[[Header], Any]) -> bytes:
        changed = json.loads(json.dumps(spec))
        found = change(changed)
        text = json.dumps(changed if found is None else found)
        return _join(header | {"__metadata__": header["__metadata__"] | {"spec": text}}, body)

    def layer(index: int, **values: Any) -> Callable[[Header], None]:
        return lambda s: s["layers"][index].update(values)

    broken: dict[str, bytes] = {
        "empty": b"",
        "text": b"no model\n" * 50,
        "cut in the header": data[:100],
        "cut in the weights": data[: len(data) // 2],
        "cut by one byte": data[:-1],
        "bytes behind": data + b"x" * 64,
        "a header of 2**63 bytes": (2**63 - 1).to_bytes(8, "little") + data[8:],
        "a header that is no JSON": _join("{nonsense", body),
        "a header of 100000 brackets": _join("[" * 100000, body),
        "a header that is a list": _join("[]", body),
        "a tensor beyond the end": _join(_retensor(header, data_offsets=[0, 2**40]), body),
        "a tensor of a negative size": _join(_retensor(header, data_offsets=[100, 0]), body),
        "a tensor of another shape": _join(_retensor(header, shape=[2**31, 2**31]), body),
        "tensors of another type": _join(_retensor(header, dtype="I32"), body),
        "an unknown type": _join(_retensor(header, dtype="F13"), body),
        "no metadata": _join({k: v for k, v in header.items() if k != "__metadata__"}, body),
        "another format": data.replace(b"yoloslim-1", b"yoloslim-9"),
        "no spec": _join(header | {"__metadata__": {"format": "yoloslim-1"}}, body),
        "a spec that is no JSON": _respec(header, body, "{"),
        "a spec of 100000 brackets": _respec(header, body, "[" * 100000),
        "a spec that is a number": _respec(header, body, "5"),
        "a flipped byte in the weights": _flip(data, len(data) - 1000),
        "a flipped bit in the weights": _flip(data, len(data) - 2001, 1),
        "weights of nan": _join(header, _nan(body)),
        "weights of infinity": _join(header, _nan(body, math.inf)),
        "no classes": respecced(lambda s: s.update(classes=[])),
        "another number of classes": respecced(lambda s: s.update(classes=["a"])),
        "a million classes": respecced(lambda s: s.update(classes=[f"c{i}" for i in range(10**6)])),
        "a class that is a number": respecced(lambda s: s.update(classes=[1, 2])),
        "imgsz of 0": respecced(lambda s: s.update(imgsz=0)),
        "imgsz of 33": respecced(lambda s: s.update(imgsz=33)),
        "imgsz of 3.2 million": respecced(lambda s: s.update(imgsz=3_200_000)),
        "imgsz of 10**30": respecced(lambda s: s.update(imgsz=10**30)),
        "anchors of nan": respecced(lambda s: s["head"]["anchors"][0].__setitem__(0, [float("nan"), 8])),
        "anchors of infinity": respecced(lambda s: s["head"]["anchors"][0].__setitem__(0, [float("inf"), 8])),
        "negative anchors": respecced(lambda s: s["head"]["anchors"][0].__setitem__(0, [-8, 8])),
        "anchors missing": respecced(lambda s: s["head"].update(anchors=s["head"]["anchors"][:1])),
        "strides of 0": respecced(lambda s: s["head"].update(strides=[0, 0, 0])),
        "negative strides": respecced(lambda s: s["head"].update(strides=[-8, -16, -32])),
        "swapped strides": respecced(lambda s: s["head"].update(strides=[32, 16, 8])),
        "no layers": respecced(lambda s: s.update(layers=[])),
        "an unknown block": respecced(layer(0, block="Evil")),
        "a cycle": respecced(layer(2, inputs=[3])),
        "a layer that reads nothing": respecced(layer(2, inputs=[])),
        "channels of 2**40": respecced(layer(0, channels=2**40)),
        "channels of a million": respecced(layer(0, channels=10**6)),
        "repeats of a million": respecced(layer(3, repeats=10**6)),
        "a kernel of 99999": respecced(layer(0, kernel=99999)),
        "a kernel of 2": respecced(layer(0, kernel=2)),
        "a stride of 4": respecced(layer(0, stride=4)),
        "padding of a million": respecced(layer(0, padding=10**6)),
        "an unknown activation": respecced(layer(0, activation="exec")),
        "an unknown key": respecced(lambda s: s.update(evil=1)),
        "widths of a million": respecced(lambda s: s.update(widths={"model.0.conv": [3, 10**6]})),
        "widths of 0": respecced(lambda s: s.update(widths={"model.0.conv": [3, 0]})),
        "widths of no module": respecced(lambda s: s.update(widths={"model.99.conv": [3, 4]})),
        "a removed unit that is none": respecced(lambda s: s.update(removed=["model.99"])),
        "a bias that is none": respecced(lambda s: s.update(biased=["model.99.conv"])),
        "scale_x_y of 5": respecced(lambda s: s["head"].update(decoding={"kind": "darknet", "scale_x_y": [5, 5, 5]})),
        "an epsilon of 1e300": respecced(lambda s: s.update(bn_eps=1e300)),
        "10000 layers": respecced(_thousands),
    }
    for name, content in broken.items():
        yield Case(f"models/inspect: {name}", _command(content, "inspect"), "refused", "model.safetensors")
    for name in (
        "cut in the weights",
        "weights of nan",
        "a million classes",
        "imgsz of 3.2 million",
        "a spec of 100000 brackets",
    ):
        for command in ("prune", "export", "export-darknet"):
            yield Case(f"models/{command}: {name}", _command(broken[name], command), "refused")
        yield Case(
            f"models/detect: {name}", _command(broken[name], "detect", str(assets.root / "voc/JPEGImages")), "refused"
        )
        yield Case(f"models/import: {name}", _command(broken[name], "import", "--out", "x.safetensors"), "refused")
    yield Case("models/missing", lambda folder: ["yoloslim", "inspect", "none.safetensors"], hint="none.safetensors")
    yield Case("models/a folder", lambda folder: ["yoloslim", "inspect", str(folder)])
    for name, arguments in {
        "percent of -1": ["--percent", "-1"],
        "percent of 100": ["--percent", "100"],
        "percent of nan": ["--percent", "nan"],
        "a scope that is none": ["--scope", "all"],
        "round_to of 0": ["--round-to", "0"],
        "layer_keep of 2": ["--layer-keep", "2"],
        "min_channels of -1": ["--min-channels", "-1"],
        "cost_power of nan": ["--cost-power", "nan"],
        "target_params of -1": ["--target-params-m", "-1"],
        "target_gflops of nan": ["--target-gflops", "nan"],
        "residual_units of -1": ["--residual-units", "-1"],
    }.items():
        yield Case(f"models/prune with {name}", _command(data, "prune", *arguments), "refused")
    for name, arguments in {
        "opset of 3": ["--opset", "3"],
        "batch of -1": ["--batch", "-1"],
        "conf_thres of 2": ["--outputs", "nms", "--conf-thres", "2"],
        "iou_thres of nan": ["--outputs", "nms", "--iou-thres", "nan"],
        "max_det of 0": ["--outputs", "nms", "--max-det", "0"],
    }.items():
        yield Case(f"models/export with {name}", _command(data, "export", *arguments), "refused")


def _command(content: bytes, command: str, *arguments: str) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        (folder / "model.safetensors").write_bytes(content)
        return ["yoloslim", command, "model.safetensors", *arguments]

    return make


def _retensor(header: Header, **values: Any) -> Header:
    name = next(key for key in header if key != "__metadata__")
    return header | {name: header[name] | values}


def _respec(header: Header, body: bytes, text: str) -> bytes:
    return _join(header | {"__metadata__": header["__metadata__"] | {"spec": text}}, body)


def _flip(data: bytes, at: int, mask: int = 0x7F) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def _nan(body: bytes, value: float = math.nan) -> bytes:
    import numpy as np

    return np.full(len(body) // 4, value, np.float32).tobytes() + body[len(body) // 4 * 4 :]


def _thousands(spec: Header) -> None:
    first, *rest = spec["layers"]
    more = [first | {"stride": 1, "kernel": 1}] * 10000
    spec["layers"] = [first, *more, *({**layer, "inputs": [-1]} for layer in rest[:-1]), rest[-1]]
