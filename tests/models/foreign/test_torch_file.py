"""The containers of torch.save: tensors come back bit for bit, and storages are believed only after a look."""

import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from yoloslim.errors import WeightsError
from yoloslim.models.foreign.checkpoint import MAX_DEPTH, read_torch_checkpoint

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16]
DTYPES += [torch.int8, torch.uint8]


def sample_state() -> dict[str, Tensor]:
    base = torch.arange(24, dtype=torch.float32)
    state = {"model.0.w": base.view(2, 3, 4), "model.1.turned": base.view(4, 6).t(), "model.2.part": base[5:9]}
    state |= {"model.3.scalar": torch.tensor(3.0), "model.4.empty": torch.zeros(0, 3)}
    return state | {f"model.5.{i}": torch.arange(5).to(dtype) for i, dtype in enumerate(DTYPES)}


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_come_back_bit_for_bit(zipped: bool, tmp_path: Path) -> None:
    state = sample_state()
    torch.save(state, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    found = read_torch_checkpoint(tmp_path / "m.pt").state
    assert found.keys() == state.keys()
    for name, value in state.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


def test_an_archive_without_its_end_is_cut_short(tmp_path: Path) -> None:
    torch.save(sample_state(), tmp_path / "m.pt")
    data = (tmp_path / "m.pt").read_bytes()
    for size in (100, len(data) // 2, len(data) - 10):
        (tmp_path / "m.pt").write_bytes(data[:size])
        with pytest.raises(WeightsError, match=f"it is cut short: its end is missing after {size} bytes"):
            read_torch_checkpoint(tmp_path / "m.pt")


def string(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def integer(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def tensor(
    numel: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...], kind: str = "FloatStorage"
) -> bytes:
    """A call of _rebuild_tensor_v2, as torch.save writes it."""
    storage = b"(" + string("storage") + b"ctorch\n" + kind.encode() + b"\n" + string("0") + string("cpu")
    storage += integer(numel) + b"tQ"
    arguments = storage + integer(offset) + numbers(*size) + numbers(*stride) + b"\x89}"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def write_zip(path: Path, pickled: bytes, data: bytes = struct.pack("<6f", *range(6))) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}" + string("w") + pickled + b"s.")
        archive.writestr("archive/data/0", data)


def test_the_handmade_file_is_a_good_one(tmp_path: Path) -> None:
    write_zip(tmp_path / "m.pt", tensor(6, 0, (2, 3), (3, 1)))
    assert torch.equal(read_torch_checkpoint(tmp_path / "m.pt").state["w"], torch.arange(6.0).view(2, 3))


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (tensor(6, 1, (2, 3), (3, 1)), "reaches element 6 of storage '0', which has 6"),
        (tensor(6, 0, (2, 3), (300, 1)), "reaches element 302"),
        (tensor(6, 2**40, (1,), (1,)), "reaches element"),
        (tensor(6, -1, (2,), (1,)), "offset -1"),
        (tensor(6, 5, (2,), (-1,)), r"stride \(-1,\)"),
        (tensor(6, 0, (-2, 3), (3, 1)), r"shape \(-2, 3\)"),
        (tensor(6, 0, (2**40,), (0,)), "reaches element 0 of storage"),
        (tensor(6, 0, (2**62,), (1,)), "a tensor with"),
        (tensor(6, 0, (2, 3), (1,)), "a tensor with"),
        (tensor(6, 0, (1,) * 9, (1,) * 9), "a tensor with"),
        (tensor(7, 0, (2, 3), (3, 1)), "storage '0' has 24 bytes where 7 elements of 4 bytes"),
        (tensor(2**60, 0, (2,), (1,)), "storage '0' has 24 bytes"),
        (tensor(-1, 0, (0,), (1,)), "no storage"),
        (tensor(6, 0, (2,), (1,), "QInt8Storage"), r"of type torch\.QInt8Storage, which is not read"),
    ],
)
def test_storages_that_do_not_hold_the_tensor_are_refused(pickled: bytes, message: str, tmp_path: Path) -> None:
    write_zip(tmp_path / "m.pt", pickled)
    with pytest.raises(WeightsError, match=message):
        read_torch_checkpoint(tmp_path / "m.pt")


def test_zip_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}" + string("w") + tensor(2**24, 0, (2**24,), (1,)) + b"s.")
        archive.writestr("archive/data/0", bytes(4 * 2**24))
    assert (tmp_path / "m.pt").stat().st_size < 2**20
    with pytest.raises(WeightsError, match="unpacks to more than its own size"):
        read_torch_checkpoint(tmp_path / "m.pt")


def module(children: bytes) -> bytes:
    """A pickled nn.Module with a table of child modules."""
    return b"ctorch.nn\nModule\n)\x81}" + string("_modules") + b"}" + children + b"sb"


def test_modules_that_unfold_without_end_are_refused(tmp_path: Path) -> None:
    shared = module(b"")
    for level in range(30):  # each holds the one before twice: 2**30 paths
        slot = bytes([level])
        shared = (
            shared + b"q" + slot + b"0" + module(string("a") + b"h" + slot + b"s" + string("b") + b"h" + slot + b"s")
        )
    write_zip(tmp_path / "m.pt", b"N" + b"s" + string("model") + shared)
    with pytest.raises(WeightsError, match=f"more than 20000 entries, or nested deeper than {MAX_DEPTH}"):
        read_torch_checkpoint(tmp_path / "m.pt")


@pytest.fixture(scope="module", params=[True, False], ids=["zip", "legacy"])
def small_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "m.pt"
    value: dict[str, Any] = {"model": sample_state(), "opt": {"imgsz": 64}, "list": [torch.nn.Linear(2, 2)]}
    torch.save(value, path, _use_new_zipfile_serialization=request.param)
    return path


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_give_an_error_in_words_or_tensors(small_file: Path, data: st.DataObject) -> None:
    content = bytearray(small_file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4), "flips")):
        content[data.draw(st.integers(0, len(content) - 1), "position")] = data.draw(st.integers(0, 255), "byte")
    damaged = small_file.with_name("damaged.pt")
    damaged.write_bytes(
        content[: data.draw(st.integers(0, len(content)), "length")] if data.draw(st.booleans()) else content
    )
    try:
        state = read_torch_checkpoint(damaged).state
    except WeightsError:
        return
    assert all(isinstance(value, Tensor) and value.numel() <= len(content) for value in state.values())
