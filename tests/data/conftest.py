"""Small data sets in VOC layout, made on the spot."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

Object = tuple[str, tuple[float, float, float, float]]
MakeVoc = Callable[..., Path]
MakeParams = Callable[..., SimpleNamespace]
WIDTH, HEIGHT = 32, 24
REPO = Path(__file__).resolve().parents[2]


def write_jpeg(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())


def write_xml(path: Path, objects: Sequence[Object]) -> None:
    items = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin><xmax>{b[2]}</xmax>"
        f"<ymax>{b[3]}</ymax></bndbox></object>"
        for name, b in objects
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    path.write_text(f"<annotation>{size}{items}</annotation>")


@pytest.fixture
def make_voc() -> MakeVoc:
    """Write a folder with the images `a0..`, one car each unless `objects` says otherwise, and image sets."""

    def make(
        root: Path,
        count: int = 12,
        objects: Mapping[str, Sequence[Object]] | None = None,
        sets: Mapping[str, Sequence[str]] | None = None,
    ) -> Path:
        for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            name = f"a{index}"
            write_jpeg(root / "JPEGImages" / f"{name}.jpg", index)
            write_xml(root / "Annotations" / f"{name}.xml", (objects or {}).get(name, [("car", (2, 3, 20, 18))]))
        for name, ids in (sets or {}).items():
            (root / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(ids) + "\n")
        return root

    return make


@pytest.fixture
def make_params(tmp_path: Path) -> MakeParams:
    """The section `data` of params.yaml, with any value replaced."""

    def make(**values: object) -> SimpleNamespace:
        defaults: dict[str, object] = {
            "source": "voc",
            "seed": 0,
            "imgsz": 64,
            "train_images": 4,
            "val_images": 2,
            "test_images": 2,
            "path": "",
            "train_set": "",
            "val_set": "",
            "test_set": "",
            "val_share": 0.2,
            "test_share": 0.2,
            "mirrors": [],
            "download_dir": str(tmp_path / "downloads"),
            "min_box_px": 2.0,
            "workers": 1,
        }
        return SimpleNamespace(**(defaults | values))

    return make


@pytest.fixture
def pack(request: pytest.FixtureRequest) -> Path:
    path: Path = REPO.parent / "shared" / "data" / f"{request.param}.tar"
    if not path.is_file():
        pytest.skip(f"photographs are not here: {path.name} in ../shared/data")
    return path
