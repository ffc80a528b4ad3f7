from pathlib import Path

import pytest

from yoloslim.data.layouts.voc import read_image_set
from yoloslim.errors import DataError


def test_image_set_takes_off_columns_and_suffixes(tmp_path: Path) -> None:
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    xmls = {name: Path(f"{name}.xml") for name in ("plain", "photo", "with space", "v1.5", "cam/deep")}
    lines = "plain\nplain  1\nphoto.jpg\nwith space\nv1.5\nunknown -1\nwith space  1\ncam/deep.jpg\ndeep\n\n"
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text(lines)
    assert read_image_set(tmp_path, "train", xmls) == ["plain", "photo", "with space", "v1.5", "unknown", "cam/deep"]


def test_missing_image_set_lists_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "trainval.txt").touch()
    with pytest.raises(DataError, match=r"image set 'train' is missing in .*there are: trainval"):
        read_image_set(tmp_path, "train", {})
