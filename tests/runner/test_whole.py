"""What the runner writes is whole or absent, on a disk that gets full, too."""

from pathlib import Path

import numpy as np
import pytest

from tests.disks import fill, small_disk
from yoloslim.runner import pictures
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.whole import whole


@pytest.mark.parametrize("library", ["opencv", "pillow"])
def test_a_picture_that_does_not_fit_leaves_the_one_before(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "pillow":
        monkeypatch.setattr(pictures, "cv2", None)
    with small_disk(tmp_path / "disk", "128k") as disk:
        pictures.write_picture(disk / "a.png", np.full((20, 20, 3), 7, np.uint8))
        before = (disk / "a.png").read_bytes()
        fill(disk / "rest")
        with pytest.raises(RunnerError, match=r"cannot write .*a.png: No space left on device"):
            pictures.write_picture(disk / "a.png", np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8))
        assert sorted(path.name for path in disk.iterdir()) == ["a.png", "rest"]
        assert (disk / "a.png").read_bytes() == before


def test_what_fails_in_between_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError), whole(tmp_path / "new/a.txt") as temporary:
        temporary.write_text("half \ud800", encoding="utf-8")
    assert not list((tmp_path / "new").iterdir())
    with whole(tmp_path / "new/a.txt") as temporary:
        temporary.write_text("all")
    assert [path.read_text() for path in (tmp_path / "new").iterdir()] == ["all"]
