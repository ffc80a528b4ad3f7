"""Weights of other programs: pickles that would run something, damaged zips, absurd tensors; given to `import`."""

import io
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.campaigns.assets import Assets, torch_bytes
from tests.campaigns.harness import Case


class Gadget:
    """Pickles into a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def _gadgets() -> dict[str, Any]:
    import builtins
    import os
    import shutil
    import subprocess

    return {
        "os.system": Gadget(os.system, "touch pwned"),
        "eval": Gadget(builtins.eval, "open('pwned', 'w')"),
        "exec": Gadget(builtins.exec, "open('pwned', 'w')"),
        "open": Gadget(builtins.open, "pwned", "w"),
        "subprocess": Gadget(subprocess.check_output, ["touch", "pwned"]),
        "rmtree": Gadget(shutil.rmtree, "nothing"),
        "getattr": Gadget(builtins.getattr, "x", "upper"),
        "import": Gadget(builtins.__import__, "antigravity"),
        "pickle.loads": Gadget(pickle.loads, b"N."),
    }


def cases(assets: Assets) -> Iterator[Case]:
    """All of them."""
    for name, gadget in _gadgets().items():
        # getattr is kept as a name that nothing calls, so what is refused is a file without a network
        hint = "w.pt" if name == "getattr" else "refused"
        yield Case(f"checkpoints/gadget {name} in a zip", _pt(torch_bytes({"model": gadget})), "refused", hint)
        yield Case(f"checkpoints/gadget {name} in a pickle", _pt(pickle.dumps(gadget, 2)), "refused", hint)
    good = assets.checkpoint.read_bytes()
    for where in (0.0001, 0.01, 0.3, 0.9, 0.999):
        yield Case(f"checkpoints/zip cut at {where:.2%}", _pt(good[: int(len(good) * where)]), "refused", "w.pt")
    for where in (0.00001, 0.0005, 0.5, 0.999):
        yield Case(f"checkpoints/zip with 8 flipped bytes at {where:.3%}", _pt(_flip(good, where)), "answered")
    yield Case("checkpoints/a tensor with a flipped byte", _pt(_flip_storage(good)), "refused", "w.pt")
    for name, data in {
        "empty": b"",
        "text": b"weights",
        "a picture": b"\xff\xd8\xff\xe0" + bytes(100),
        "only a dictionary": pickle.dumps({}),
        "a list": torch_bytes([1, 2]),
        "a number": torch_bytes(5),
        "a lone string": torch_bytes("x"),
        "nested 50000 times": _deep(50000),
        "nested tuples": b"\x80\x02" + b")" + b"\x85" * 100000 + b".",
        "an integer of a million digits": b"\x80\x02\x8b" + struct.pack("<I", 400000) + b"\x7f" * 400000 + b".",
        "a text integer of 100000 digits": b"I" + b"9" * 100000 + b"\n.",
        "a memo bomb": b"\x80\x02" + b"]q\x00" + b"h\x00h\x00a" * 100000 + b".",
        "a string that says 2 GB": b"\x80\x04\x8d" + struct.pack("<Q", 2**31) + b"abc.",
        "no stop": b"\x80\x02]",
        "an unknown opcode": b"\x80\x02\xfe.",
        "protocol 99": b"\x80\x63N.",
        "persistent ids": b"\x80\x02X\x01\x00\x00\x00aQ.",
        "billion lists": _billion(),
    }.items():
        yield Case(f"checkpoints/{name}", _pt(data), "refused", "w.pt")
    yield from _tensors(assets)
    yield from _zips(assets)
    for name, argument in {
        "no checksum": "https://127.0.0.1:9/w.pt",
        "a short checksum": "https://127.0.0.1:9/w.pt#sha256=abc",
        "file address": "file:///etc/passwd#sha256=" + "0" * 64,
        "ftp address": "ftp://127.0.0.1/w.pt#sha256=" + "0" * 64,
        "nobody there": "http://127.0.0.1:9/w.pt#sha256=" + "0" * 64,
        "missing": "none.pt",
        "a folder": ".",
    }.items():
        yield Case(f"checkpoints/address: {name}", _source(argument), "refused")
    yield Case("checkpoints/a model that is none", _model(assets, "yolov99"), "refused", "yolov99")
    yield Case("checkpoints/another model", _model(assets, "yolov3-tiny"), "refused")


def _tensors(assets: Assets) -> Iterator[Case]:
    import torch

    state = torch.load(assets.checkpoint, weights_only=True)
    first = next(iter(state))
    for name, value in {
        "no tensors": {},
        "one tensor": {"x": torch.zeros(3)},
        "a tensor less": {k: v for k, v in state.items() if k != first},
        "a tensor of another shape": state | {first: torch.zeros(7, 7)},
        "a tensor of nan": state | {first: state[first] * float("nan")},
        "a tensor of infinity": state | {first: state[first] + float("inf")},
        "a tensor of numbers of 8 bits": state | {first: state[first].to(torch.int8)},
        "an expanded tensor of 2**40": state | {first: torch.zeros(1).expand(2**40)},
        "a tensor of complex numbers": state | {first: state[first].to(torch.complex64)},
        "21000 tensors": {f"model.{i}.weight": torch.zeros(1) for i in range(21000)},
        "a name of a million characters": {"m" * 10**6: torch.zeros(1)},
        "names that are numbers": {i: torch.zeros(1) for i in range(10)},
        "a sparse tensor": state | {first: torch.zeros(4, 4).to_sparse()},
    }.items():
        yield Case(f"checkpoints/{name}", _pt(torch_bytes(value)), "refused", "w.pt")


def _zips(assets: Assets) -> Iterator[Case]:
    def packed(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return stream.getvalue()

    storage = _storage_pickle(2**31)
    for name, data in {
        "an empty zip": packed({}),
        "a zip without a pickle": packed({"a.txt": b"x"}),
        "two pickles": packed({"a/data.pkl": b"N.", "b/data.pkl": b"N."}),
        "a bomb of 1 GB": packed({"archive/data.pkl": b"\x80\x02" + bytes(2**30)}, zipfile.ZIP_DEFLATED),
        "a member that climbs": packed({"../data.pkl": b"N."}),
        "a storage that is missing": packed({"archive/data.pkl": storage}),
        "a storage of the wrong length": packed({"archive/data.pkl": storage, "archive/data/0": b"abc"}),
    }.items():
        yield Case(f"checkpoints/{name}", _pt(data), "refused", "w.pt")


def _storage_pickle(count: int) -> bytes:
    """{"x": a tensor over a storage of so many floats}, as `torch.save` pickles it."""
    out = io.BytesIO()
    out.write(b"\x80\x02}X\x01\x00\x00\x00x")
    out.write(b"ctorch._utils\n_rebuild_tensor_v2\n(")
    out.write(b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ")
    out.write(struct.pack("<i", min(count, 2**31 - 1)) + b"tQ")
    out.write(b"K\x00K\x05\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs.")
    pickletools.dis(out.getvalue(), out=io.StringIO())
    return out.getvalue()


def _pt(data: bytes) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        (folder / "w.pt").write_bytes(data)
        return ["yoloslim", "import", "w.pt", "--out", "x.safetensors"]

    return make


def _source(argument: str) -> Callable[[Path], Sequence[str]]:
    return lambda folder: ["yoloslim", "import", argument, "--out", "x.safetensors"]


def _model(assets: Assets, name: str) -> Callable[[Path], Sequence[str]]:
    return lambda folder: ["yoloslim", "import", str(assets.checkpoint), "--model", name, "--out", "x.safetensors"]


def _flip(data: bytes, where: float) -> bytes:
    at = int(len(data) * where)
    return data[:at] + bytes(b ^ 0x5A for b in data[at : at + 8]) + data[at + 8 :]


def _flip_storage(data: bytes) -> bytes:
    """One byte of the first tensor, whose checksum the zip keeps."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = next(i for i in archive.infolist() if "/data/" in i.filename and i.file_size > 100)
    at = info.header_offset + 30 + len(info.filename) + 200
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


def _deep(levels: int) -> bytes:
    return b"\x80\x02" + b"]" * levels + b"a" * (levels - 1) + b"."


def _billion() -> bytes:
    text = b"\x80\x02]q\x00"
    for i in range(40):
        text += b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1])
    return text + b"."
