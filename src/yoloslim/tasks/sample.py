"""Pictures that a network is looked at with: training images and, where there are boxes, test images too."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from yoloslim.boxes import letterbox
from yoloslim.data.images import read_image
from yoloslim.errors import DataError
from yoloslim.evaluation.inference import PredictorInference
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.models.detector import Detector
from yoloslim.runner.pictures import SUFFIXES
from yoloslim.tasks.evaluate_dataset import evaluate_dataset, has_image_set, images_in, in_voc_layout


@dataclass(frozen=True)
class Sample:
    """Some of the training images, and the data set that they are of.

    Attributes:
        images: (N, 3, S, S) in [0, 1], letterboxed as for evaluation.
        root: the data set in VOC layout; None where there are pictures alone.
        tested: whether it has test images.
    """

    images: Tensor
    root: Path | None
    tested: bool

    @property
    def what_is_missing(self) -> str:
        """For a line about them."""
        if self.root is None:
            return "; pictures without boxes: no accuracy is measured"
        return "" if self.tested else "; it has no image set 'test': no accuracy is measured"

    def accuracy(self, model: Detector) -> dict[str, float] | None:
        """map50, map50_95 and the like on the test images; None without any."""
        if self.root is None or not self.tested:
            return None
        inference = PredictorInference(TorchPredictor(model), NmsOptions())
        return evaluate_dataset(inference, self.root, "test").metrics


@contextmanager
def sample_of(data: Path, layout: str, model: Detector, count: int) -> Iterator[Sample]:
    """Up to `count` training images, chosen by a fixed seed.

    Args:
        data: a data set, or a folder of pictures without boxes.
        layout: of the data set; `auto` finds out.
        model: which size they are for.
        count: at least 1.

    Raises:
        DataError: neither, or a picture that cannot be read.
    """
    alone = _pictures_alone(data) if layout == "auto" else []
    with nullcontext(None) if alone else in_voc_layout(data, layout) as root:
        paths = _training_images(root) if root else alone
        chosen = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[:count]]
        canvases = np.stack([letterbox(read_image(path), model.spec.imgsz)[0] for path in chosen])
        images = torch.from_numpy(canvases).permute(0, 3, 1, 2).float() / 255
        yield Sample(images, root, root is not None and has_image_set(root, "test"))


def _pictures_alone(folder: Path) -> list[Path]:
    """The pictures of a folder that holds nothing else."""
    if not folder.is_dir():
        return []
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return files if files and all(path.suffix.lower() in SUFFIXES for path in files) else []


def _training_images(root: Path) -> list[Path]:
    for name in ("train", "trainval"):
        if has_image_set(root, name):
            return images_in(root, name)
    raise DataError(f"{root} has neither an image set 'train' nor 'trainval' in ImageSets/Main")
