import os
from pathlib import Path

import numpy as np
import pytest

from yoloslim.seals import is_whole, seal


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_a_sealed_file_is_whole_until_a_bit_or_an_end_is_missing(tmp_path: Path, size: int) -> None:
    path, rng = tmp_path / "a", np.random.default_rng(size)
    data = rng.bytes(size)
    path.write_bytes(data)
    assert not is_whole(path)
    seal(path)
    sealed = path.read_bytes()
    assert sealed[:size] == data
    assert is_whole(path)
    for _ in range(20):
        at, bit = int(rng.integers(len(sealed))), 1 << int(rng.integers(8))
        path.write_bytes(sealed[:at] + bytes([sealed[at] ^ bit]) + sealed[at + 1 :])
        assert not is_whole(path), at
    for end in (0, 1, len(sealed) // 2, len(sealed) - 1):
        path.write_bytes(sealed[:end])
        assert not is_whole(path)
    path.write_bytes(sealed + b"\0")
    assert not is_whole(path)


def test_a_change_after_the_first_look_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    seal(path)
    assert is_whole(path)
    with path.open("rb+") as stream:
        stream.write(b"x")
    os.utime(path, ns=(0, 1))
    assert not is_whole(path)
