import os
import pickle
from pathlib import Path

import pytest
import torch

from tests.disks import fill, small_disk
from yoloslim.errors import YoloslimError
from yoloslim.training.checkpoint import load_checkpoint, save_checkpoint, tensor_bytes


class Bomb:
    """Unpickling this makes a folder: what a hostile checkpoint would do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_state_comes_back(tmp_path: Path) -> None:
    state = {"model": {"w": torch.tensor([1.5, -0.0])}, "epoch": 3, "history": [{"loss": 0.1}], "callbacks": [{}]}
    save_checkpoint(tmp_path / "a" / "x.pt", state)
    found = load_checkpoint(tmp_path / "a" / "x.pt")
    assert found is not None
    assert torch.equal(found["model"].pop("w"), torch.tensor([1.5, -0.0]))
    assert found == {"model": {}, "epoch": 3, "history": [{"loss": 0.1}], "callbacks": [{}]}


def test_no_checkpoint_is_nothing_to_speak_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_checkpoint(tmp_path / "x.pt") is None
    assert not caplog.records


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_checkpoint_is_said_and_left_aside(
    tmp_path: Path, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.pt"
    save_checkpoint(path, {"w": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert load_checkpoint(path) is None
    assert "training starts from the beginning" in caplog.text


@pytest.mark.parametrize("writer", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))])
def test_checkpoint_never_runs_code(tmp_path: Path, writer, caplog: pytest.LogCaptureFixture) -> None:  # type: ignore[no-untyped-def]
    path, mark = tmp_path / "x.pt", tmp_path / "mark"
    writer({"model": Bomb(mark)}, path)
    assert load_checkpoint(path) is None
    assert not mark.exists()
    assert "cannot be read" in caplog.text


def test_failed_save_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pt"
    save_checkpoint(path, {"epoch": 1})

    def fail(state: object, target: Path) -> None:
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"epoch": 2})
    assert load_checkpoint(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("seed", range(8))
def test_a_flipped_bit_is_noticed(tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.pt"
    save_checkpoint(path, {"w": torch.rand(1000)})
    data = bytearray(path.read_bytes())
    data[seed * len(data) // 8 + 3] ^= 1 << seed
    path.write_bytes(bytes(data))
    assert load_checkpoint(path) is None
    assert "is damaged, or was not written to its end" in caplog.text


def test_a_full_disk_keeps_the_checkpoint_before_and_says_what_is_needed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        save_checkpoint(disk / "x.pt", {"w": torch.zeros(100_000), "epoch": 1})
        fill(disk / "filler")
        for state in ({"w": torch.zeros(1_000_000)}, {"w": [0.5] * 1_000_000}):  # one is known to be large beforehand
            with pytest.raises(YoloslimError, match=r"MB are needed .* MB are free .*The checkpoint before it is kept"):
                save_checkpoint(disk / "x.pt", state)
        found = load_checkpoint(disk / "x.pt")
        assert found is not None
        assert found["epoch"] == 1
        assert sorted(path.name for path in disk.iterdir()) == ["filler", "x.pt"]


def test_tensors_that_share_memory_are_counted_once() -> None:
    w = torch.zeros(10, dtype=torch.float64)
    assert tensor_bytes({"a": w, "b": [w[:5], {"c": (w.view(2, 5), torch.zeros(3))}], "d": 7}) == 80 + 12
