"""The two containers of `torch.save`: the zip archive of PyTorch 1.6 and later, and the stream of pickles before."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yoloslim.errors import WeightsError
from yoloslim.models.foreign.pickles import read_pickle
from yoloslim.models.foreign.records import shorten
from yoloslim.models.foreign.tensors import CALLS, StorageRef, TensorRef, storage_ref

LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
Storages = Callable[[StorageRef], Tensor]


class TorchFile:
    """What a file of `torch.save` holds, with its tensors not yet read.

    Attributes:
        root: the pickled object: dictionaries, lists, records, tensor descriptions.
    """

    def __init__(self, root: Any, storages: Storages) -> None:
        self.root = root
        self._storages = storages
        self._read: dict[str, Tensor] = {}

    def tensor(self, ref: TensorRef) -> Tensor:
        """The tensor that `ref` describes, a view of its storage.

        Raises:
            WeightsError: storage and description disagree.
        """
        key = ref.storage.key
        if key not in self._read:
            with _in_words():
                self._read[key] = self._storages(ref.storage)
        if self._read[key].dtype != ref.storage.dtype:
            raise WeightsError(f"storage '{key}' is described with two element types")
        return ref.view(self._read[key])


def read_torch_file(path: Path) -> TorchFile:
    """Read a `.pt` or `.pth` file of any PyTorch since 0.4, running nothing of it.

    Raises:
        WeightsError: damaged, hostile, or no such file; without the path, which the caller knows.
    """
    with _in_words():
        if zipfile.is_zipfile(path):
            return _read_zip(path)
        data = path.read_bytes()
        if data.startswith(b"PK\x03\x04"):
            raise WeightsError(f"it is cut short: its end is missing after {len(data)} bytes; copy it again")
        return _read_legacy(data)


@contextmanager
def _in_words() -> Iterator[None]:
    """Turn what `zipfile` and `struct` raise on damaged bytes into one error."""
    try:
        yield
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OSError, struct.error, zlib.error) as error:
        raise WeightsError(f"it is damaged or cut short ({shorten(str(error))})") from error


def _read_zip(path: Path) -> TorchFile:
    archive = zipfile.ZipFile(path)  # stays open: storages are read when they are asked for
    entries = {info.filename: info for info in archive.infolist()}
    if sum(info.file_size for info in entries.values()) > path.stat().st_size:
        raise WeightsError("it is refused: it unpacks to more than its own size, which PyTorch never writes")
    roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(roots) != 1 or f"{roots[0]}constants.pkl" in entries:
        what = "a TorchScript program" if roots else "no file of torch.save"
        raise WeightsError(f"it is {what}; give the checkpoint that training wrote")
    root = roots[0]

    def entry(name: str) -> bytes:
        if root + name not in entries:
            raise WeightsError(f"it is damaged: '{name}' is missing in it")
        return archive.read(entries[root + name])

    if f"{root}byteorder" in entries:
        _check_byte_order(entry("byteorder") == b"little")

    def storage(ref: StorageRef) -> Tensor:
        return _as_tensor(entry(f"data/{ref.key}"), ref)

    return TorchFile(read_pickle(io.BytesIO(entry("data.pkl")), CALLS, storage_ref), storage)


def _read_legacy(data: bytes) -> TorchFile:
    """Pickles of a magic number, a version, machine sizes, the object and its storages' keys; then the storages."""
    stream = io.BytesIO(data)
    refs: dict[str, StorageRef] = {}

    def remember(identity: Any) -> Any:
        found = storage_ref(identity)
        if isinstance(found, StorageRef):
            refs[found.key] = found
        return found

    magic = read_pickle(stream, {}, storage_ref)
    if magic != LEGACY_MAGIC or read_pickle(stream, {}, storage_ref) != LEGACY_PROTOCOL:
        raise WeightsError("it is a pickle, but not one of torch.save")
    machine = read_pickle(stream, {}, storage_ref)
    _check_byte_order(isinstance(machine, dict) and machine.get("little_endian") is True)
    root = read_pickle(stream, CALLS, remember)
    keys = read_pickle(stream, {}, storage_ref)
    tensors = {}
    for key in keys if isinstance(keys, list) else []:
        if key not in refs:
            raise WeightsError(f"it is damaged: storage {key!r:.40} belongs to no tensor")
        ref, (numel,) = refs[key], struct.unpack("<q", stream.read(8))
        if numel != ref.numel:
            raise WeightsError(f"it is damaged: storage '{key}' has {numel} elements, its tensor was told {ref.numel}")
        tensors[key] = _as_tensor(stream.read(numel * ref.dtype.itemsize), ref)

    def storage(ref: StorageRef) -> Tensor:
        if ref.key not in tensors:
            raise WeightsError(f"it is damaged: storage '{ref.key}' is missing in it")
        return tensors[ref.key]

    return TorchFile(root, storage)


def _as_tensor(data: bytes, ref: StorageRef) -> Tensor:
    if len(data) != ref.numel * ref.dtype.itemsize:
        raise WeightsError(
            f"it is damaged: storage '{ref.key}' has {len(data)} bytes where {ref.numel} elements of "
            f"{ref.dtype.itemsize} bytes are announced"
        )
    return torch.frombuffer(bytearray(data), dtype=ref.dtype) if data else torch.empty(0, dtype=ref.dtype)


def _check_byte_order(little: bool) -> None:
    if not little:
        raise WeightsError("it was written on a big-endian machine; save it again on another")
