"""Hostile pickles: each really works on Python's own unpickler, and none of them here."""

import io
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from yoloslim.errors import WeightsError
from yoloslim.models.foreign.load import import_model
from yoloslim.models.foreign.pickles import read_pickle
from yoloslim.models.foreign.records import Global, Record


def read(data: bytes) -> Any:
    return read_pickle(io.BytesIO(data), {}, lambda identity: ("persistent", identity))


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def gadgets(canary: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles that make the file `canary`, and what the refusal must name."""
    touch, code = f"touch {canary}", f"open({str(canary)!r}, 'w')"
    getattr_chain = (
        b"\x80\x02cbuiltins\ngetattr\n(cbuiltins\n__import__\n(" + text("os") + b"tR" + text("system") + b"tR("
        + text(touch) + b"tR."
    )  # fmt: skip
    return {
        "reduce": (pickle.dumps(Calls(__import__("os").system, touch)), "system"),
        "eval": (pickle.dumps(Calls(eval, code)), r"builtins\.eval"),
        "exec at protocol 0": (pickle.dumps(Calls(exec, code), 0), r"exec"),
        "import": (getattr_chain, r"builtins\.__import__"),
        "inst": (b"(S'" + touch.encode() + b"'\niposix\nsystem\n.", r"posix\.system"),
        "obj": (b"(cposix\nsystem\n" + text(touch) + b"o.", r"posix\.system"),
        "stack global": (
            b"\x80\x04" + text("posix") + text("system") + b"\x93(" + text(touch) + b"tR.",
            r"posix\.system",
        ),
        "inside a list": (pickle.dumps([1, {"a": (Calls(eval, code), 2)}]), r"builtins\.eval"),
        "subprocess": (pickle.dumps(Calls(__import__("subprocess").getoutput, touch)), r"subprocess\.getoutput"),
        "method": (pickle.dumps(Calls(Path.touch, canary)), r"pathlib\.Path\.touch"),
    }


NAMES = list(gadgets(Path("x")))


@pytest.mark.parametrize("name", NAMES)
def test_the_gadget_is_real(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickle.loads(gadgets(canary)[name][0])
    assert canary.exists()


@pytest.mark.parametrize("wrapped", ["bare", "zip", "in a checkpoint"])
@pytest.mark.parametrize("name", NAMES)
def test_no_gadget_runs_and_the_refusal_names_it(name: str, wrapped: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "model.pt"
    data, tried = gadgets(canary)[name]
    if wrapped == "bare":
        path.write_bytes(data if data[:1] == b"\x80" else b"\x80\x02" + data)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            inner = data if wrapped == "zip" else b"\x80\x02}" + text("model") + data.removesuffix(b".") + b"s."
            archive.writestr("archive/data.pkl", inner)
    with pytest.raises(WeightsError, match=rf"model\.pt: it is refused: on loading it would call .*{tried}"):
        import_model(path)
    assert not canary.exists()


def test_torch_load_as_a_gadget_is_refused(tmp_path: Path) -> None:
    torch.save({"model": Calls(torch.load, str(tmp_path / "other.pt"))}, tmp_path / "m.pt")
    with pytest.raises(WeightsError, match=r"would call torch\.serialization\.load\('.*other\.pt',\)"):
        import_model(tmp_path / "m.pt")


class Stateful:
    """Runs on `__setstate__`, which the real unpickler calls."""

    ran = False

    def __init__(self) -> None:
        self.value = 3

    def __setstate__(self, state: Any) -> None:
        Stateful.ran = True


def test_classes_become_records_and_none_of_their_code_runs() -> None:
    record = read(pickle.dumps(Stateful()))
    assert isinstance(record, Record)
    assert record.kind == Global(__name__, "Stateful")
    assert record.state == {"value": 3}
    assert not Stateful.ran


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_comes_back(protocol: int) -> None:
    value = {
        "a": [1, -2, 2**70, 1.5, None, True, False],
        "b": ("x", "ü\n", (), (1,), (1, 2), (1, 2, 3)),
        3: {},
        None: [],
    }
    shared = [1]
    assert read(pickle.dumps(value, protocol)) == value
    twice = read(pickle.dumps([shared, shared], protocol))
    assert twice[0] is twice[1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x02cos\nenviron\n}" + text("a") + text("b") + b"sb.", r"would change os\.environ"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"Pname\n.", "PERSID"),
        (b".", "damaged"),
        (b"", "damaged"),
        (b"\x80\x02]", "damaged"),
        (b"\x80\x02K\x01\x86.", "damaged"),
        (b"\x80\x02h\x05.", "damaged"),
        (b"\x80\x02R.", "damaged"),
        (b"\x80\x02K\x01K\x02a.", "int stands where list belongs"),
        (b"\x80\x02}]K\x01s.", "list as a key"),
        (b"\x80\x02\x8b" + (2**30).to_bytes(4, "little") + b"\x01.", "damaged"),
        (b"\x80\x04\x8e" + (2**60).to_bytes(8, "little") + b"ab.", "damaged"),
        (b"\x80\x02\x8a\x14" + b"\x7f" * 20 + b".", "an integer of 159 bits"),
        (b"I" + b"9" * 5000 + b"\n.", "damaged"),
    ],
)
def test_broken_and_odd_pickles_are_refused_in_words(data: bytes, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        read(data)


def test_nested_tuples_are_no_keys() -> None:
    deep = b"\x80\x02)" + b"2\x86" * 60  # a tuple of 2**60 leaves, if one counts them; hashing would
    with pytest.raises(WeightsError, match="tuple as a key"):
        read(b"\x80\x02}" + deep[2:] + b"K\x01s.")


def test_what_is_shared_is_never_copied() -> None:
    """One large state, given to many objects again and again, would fill the memory if it were merged."""
    big = b"}(" + b"".join(b"J" + i.to_bytes(4, "little") + b"K\x00" for i in range(1000)) + b"uq\x01"
    objects = b"(" + b"cx\nY\n)\x81h\x01b" * 1000 + b"l"
    found = read(b"\x80\x02" + big + b"0" + objects + b".")
    assert len({id(record.state) for record in found}) == 1
    with pytest.raises(WeightsError, match="an object with two states"):
        read(b"\x80\x02" + big + b"0cx\nY\n)\x81h\x01bh\x01b.")


def test_every_opcode_is_carried_out_but_those_that_no_checkpoint_needs() -> None:
    refused = set()
    for opcode in pickletools.opcodes:
        try:
            read(b"\x80\x02" + opcode.code.encode("latin-1") + b"\x00" * 8 + b"\n.")
        except WeightsError as error:
            if f"its pickle uses {opcode.name}, which no checkpoint needs" in str(error):
                refused.add(opcode.name)
    assert refused == {"EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "PERSID", "READONLY_BUFFER"}
