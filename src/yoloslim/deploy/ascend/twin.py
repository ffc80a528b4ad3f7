"""The Ascend twin: what each peculiarity of the board does to mAP, predicted on the CPU, one at a time.

The reference is the exported graph as everything else here runs it: centred letterbox filled with grey, RGB / 255,
float32, several labels a cell. Each effect changes one thing:

- colour: the picture goes through NV12 and AIPP's integer arithmetic (`runner.nv12`).
- top_left: the picture lies at the top left of the canvas, as the MindX SDK places it.
- green_fill: the padding is what a zeroed NV12 buffer turns into, RGB (0, 135, 0).
- resize: the chip's resizer, as documented: the shorter side is rounded half up and then up to even, the filter is
  bilinear without anti-aliasing.
- fp16: weights and the result of every operator are rounded to float16, sums inside an operator are not.
- single_label: one class a cell and no limit on boxes, as the MindX SDK's post-processor decides.
- board: all of them together.

A device that is fed RGB has its pictures decoded, resized and filled with grey by OpenCV: green_fill and resize are
then no effects, and board is without them.
"""

import logging
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloslim.boxes import Letterbox, fit, letterbox
from yoloslim.choices import AippInput
from yoloslim.data.voc import VocSplit
from yoloslim.deploy.ascend.aipp import aipp_twin
from yoloslim.deploy.ascend.effects import TITLES
from yoloslim.deploy.board.half import save_half
from yoloslim.deploy.board.twin import Image, Rows, predict_changes
from yoloslim.deploy.manifest import Manifest, load_manifest
from yoloslim.evaluation.nms import NmsOptions, detect, mindx_options
from yoloslim.evaluation.predictor import OnnxPredictor, Preprocess, divide_by_255

logger = logging.getLogger(__name__)

GREEN = (0, 135, 0)
"""What JPEG's matrix makes of Y = U = V = 0."""

Heads = list[NDArray[np.float32]]


@dataclass(frozen=True)
class _Path:
    """One way from picture to detections."""

    colour: bool = False
    top_left: bool = False
    green_fill: bool = False
    resize: bool = False
    fp16: bool = False
    single_label: bool = False


_NV12_ONLY = ("green_fill", "resize")
"""Effects of the units that decode and resize on the chip."""


def predict_board(
    export_dir: Path,
    split: VocSplit,
    options: NmsOptions,
    images: int = 300,
    threads: int = 2,
    source: AippInput = "nv12",
) -> dict[str, dict[str, float]]:
    """Change of map50 and map50_95 by effect, on evenly chosen images of a split.

    Args:
        export_dir: what `export_model` wrote for ONNX.
        split: pictures and truth.
        options: suppression of the reference.
        images: how many, at most.
        threads: CPU threads, each with pictures of its own.
        source: what the device is fed; `rgb` is not converted, only scaled in float16, and OpenCV places it.

    Returns:
        See `predict_changes`; the effects are those of `TITLES`. Canvases that an effect does not change are not run
        again.
    """
    absent = _NV12_ONLY if source == "rgb" else ()
    everything = replace(_Path(*[True] * 6), **dict.fromkeys(absent, False))
    manifest = load_manifest(export_dir)
    with TemporaryDirectory() as folder:
        half = Path(folder) / "half.onnx"
        save_half(export_dir / manifest.file, half)
        twin = _Twin(export_dir / manifest.file, half, manifest, source)

        def find(picture: Image, effect: str) -> Rows:
            if effect == "board":
                sdk = mindx_options(options.conf_thres, options.conf_thres, options.iou_thres)
                return twin.detections(picture, everything, sdk)
            way = _Path(**{effect: effect not in absent}) if effect else _Path()
            suppression = replace(options, multi_label=False, max_det=None) if way.single_label else options
            return twin.detections(picture, way, suppression)

        return predict_changes(TITLES, find, split, images, threads)


class _Twin:
    """The graph and its half-precision copy; heads of canvases it has seen are remembered."""

    def __init__(self, graph: Path, half: Path, manifest: Manifest, source: AippInput) -> None:
        self._manifest = manifest
        aipp = aipp_twin(source)
        self._predictors: dict[tuple[bool, bool], OnnxPredictor] = {}
        for colour in (False, True):
            preprocess: Preprocess = aipp if colour else divide_by_255
            for fp16, path in ((False, graph), (True, half)):
                self._predictors[colour, fp16] = OnnxPredictor(path, manifest, 1, preprocess)
        self._heads: dict[tuple[bool, bool, bytes], Heads] = {}
        self._rows: dict[tuple[bool, bool, bytes, NmsOptions], NDArray[np.float32]] = {}

    def detections(self, picture: Image, way: _Path, options: NmsOptions) -> NDArray[np.float32]:
        """(n, 6) in pixels of the picture."""
        canvas, box = place(picture, self._manifest, way.top_left, way.green_fill, way.resize)
        key = (way.colour, way.fp16, sha256(canvas.tobytes()).digest())
        if key not in self._heads:
            self._heads[key] = self._predictors[way.colour, way.fp16].predict(canvas[None])
        if (*key, options) not in self._rows:
            self._rows[*key, options] = detect(self._heads[key], self._manifest.head, options)[0]
        rows = self._rows[*key, options]
        return box.detections_to_image(rows, picture.shape[1], picture.shape[0])


def place(
    picture: Image, manifest: Manifest, top_left: bool, green_fill: bool, chip_resize: bool
) -> tuple[Image, Letterbox]:
    """Letterbox a picture (H, W, 3) as the library does, with some of the board's ways instead.

    Returns:
        The canvas (S, S, 3) and where the picture lies on it.
    """
    align = "topleft" if top_left else manifest.letterbox_align
    size = manifest.imgsz
    height, width = picture.shape[:2]
    box = fit(width, height, size, align)
    if chip_resize:
        box = chip_fit(box, width, height)
        resized = cv2.resize(picture, (box.width, box.height), interpolation=cv2.INTER_LINEAR)
    else:
        canvas, box = letterbox(picture, size, align, manifest.letterbox_fill)
        if not green_fill:
            return canvas, box
        resized = canvas[box.top : box.top + box.height, box.left : box.left + box.width]
    result = np.empty((size, size, 3), np.uint8)
    result[:] = GREEN if green_fill else manifest.letterbox_fill
    result[box.top : box.top + box.height, box.left : box.left + box.width] = resized
    return result, box


def chip_fit(box: Letterbox, width: int, height: int) -> Letterbox:
    """Sizes as the chip's resizer takes them: rounded half up, then up to even, never larger than the canvas.

    The scale stays that of the longer side, which is what the post-processor divides boxes by.
    """
    sides = [min(box.imgsz, int(np.floor(side * box.scale + 0.5) + 1) // 2 * 2) for side in (width, height)]
    inner_w, inner_h = (max(2, side) for side in sides)
    centred = box.left > 0 or box.top > 0
    left, top = ((box.imgsz - inner_w) // 2, (box.imgsz - inner_h) // 2) if centred else (0, 0)
    return Letterbox(box.scale, left, top, inner_w, inner_h, box.imgsz)
