"""Section `data`: where images and boxes come from."""

import difflib
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from yoloslim.config.base import Section

LAYOUTS = Path(__file__).parents[1] / "data" / "layouts"
SOURCES = {"scenes": "drawn", "voc2007": "downloaded", "auto": "own, of a layout that is told"} | {
    path.stem: "own, of this layout" for path in sorted(LAYOUTS.glob("[!_]*.py"))
}
"""What `data.source` may be; a layout is a file in data/layouts, of that name, or registered by a program."""


class DataParams(Section):
    """Where images and boxes come from."""

    source: str = Field("scenes", description="scenes, voc2007, auto, or the name of a layout")
    path: str = Field("", description="source auto, voc: folder or archive")
    imgsz: int = Field(160, ge=32, le=4096, description="source scenes: side of the drawn images, px")
    train_images: int = Field(1000, ge=1, le=1_000_000)
    val_images: int = Field(100, ge=1, le=1_000_000)
    test_images: int = Field(300, ge=1, le=1_000_000)
    train_set: str = Field("", description="image set to train on; empty: split by shares")
    val_set: str = ""
    test_set: str = ""
    val_share: float = Field(0.1, ge=0, lt=1, description="share of images, when no image sets are named")
    test_share: float = Field(0.2, ge=0, lt=1, description="share of images, when no image sets are named")
    min_box_px: float = Field(1.0, ge=0, description="boxes with a side shorter than this are dropped, px")
    max_megapixels: float = Field(128.0, gt=0, le=4096, description="larger images are left out, millions of pixels")
    mirrors: tuple[str, ...] = (
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/",
        "https://pjreddie.com/media/files/",
    )
    download_dir: str = "downloads"
    workers: int = Field(0, ge=0, le=256, description="processes that draw, threads that read images; 0 is one a core")
    seed: int = Field(0, ge=0)

    @field_validator("source")
    @classmethod
    def _source_is_known(cls, value: str) -> str:
        if value not in SOURCES:
            near = difflib.get_close_matches(value, SOURCES, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise ValueError(f"no such source; {hint}there are {', '.join(SOURCES)}")
        return value

    @model_validator(mode="after")
    def _source_is_complete(self) -> "DataParams":
        if self.source not in ("scenes", "voc2007") and not self.path:
            raise ValueError(f"data.source is {self.source}, so data.path must name a folder or an archive")
        if self.val_share + self.test_share >= 1:
            raise ValueError(f"val_share {self.val_share} + test_share {self.test_share} leave nothing to train on")
        return self
