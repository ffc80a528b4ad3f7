"""Pictures that a network is looked at with: training images and, where there are boxes, test images too."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloslim.boxes import fit, letterbox
from yoloslim.config import TrainParams
from yoloslim.data.images import read_image
from yoloslim.data.voc import Annotation
from yoloslim.errors import DataError, PruneError
from yoloslim.evaluation.inference import PredictorInference
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.evaluation.predictor.pytorch import TorchPredictor
from yoloslim.models.detector import Detector
from yoloslim.prune_request import Scorer
from yoloslim.pruning.activation import activation_scores
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.importance import Scores, taylor_scores
from yoloslim.runner import damage
from yoloslim.runner.pictures import SUFFIXES
from yoloslim.tasks.evaluate_dataset import evaluate_images, has_image_set, images_in, in_voc_layout, truth_of

logger = logging.getLogger(__name__)

BATCH = 32
"""Images at once where gradients or activations are collected."""


@dataclass(frozen=True)
class Sample:
    """Some of the training images, and the data set that they are of.

    Attributes:
        images: (N, 3, S, S) in [0, 1], letterboxed as for evaluation.
        paths: their files.
        root: the data set in VOC layout; None where there are pictures alone.
        classes: those of the network.
        tested: whether it has test images.
    """

    images: Tensor
    paths: tuple[Path, ...]
    root: Path | None
    classes: tuple[str, ...]
    tested: bool

    @property
    def what_is_missing(self) -> str:
        """For a line about them."""
        if self.root is None:
            return "; pictures without boxes: no accuracy is measured"
        return "" if self.tested else "; it has no image set 'test': no accuracy is measured"

    def scores(self, model: Detector, importance: str | Scorer) -> Scores | None:
        """Scores of an importance that looks at images; None for any other.

        Raises:
            PruneError: `taylor` for pictures without boxes.
            DataError: boxes that cannot be read, or of a class that the model does not know.
        """
        if importance == "activation":
            return activation_scores(model, find_coupling(model), torch.split(self.images, BATCH))
        if importance != "taylor":
            return None
        if self.root is None:
            raise PruneError(
                "importance taylor needs boxes, and these are pictures without: give a data set, or take importance "
                "activation, which needs none"
            )
        loss = model.spec.loss(TrainParams(), torch.device("cpu"))
        return taylor_scores(
            model, find_coupling(model), self._with_boxes(model), lambda m, batch: loss(m(batch[0]), batch[1])[0]
        )

    def _with_boxes(self, model: Detector) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of images, and the boxes in them, (n, 6): image, class, centre, width and height as shares of S."""
        assert self.root is not None
        truth, _ = truth_of(self.root, self.paths, self.classes, tell=not self.tested)
        for start in range(0, len(truth), BATCH):
            rows = [_targets(i, note, model.spec.imgsz) for i, note in enumerate(truth[start : start + BATCH])]
            yield self.images[start : start + BATCH], torch.from_numpy(np.concatenate(rows))

    def accuracy(self, model: Detector) -> dict[str, float] | None:
        """map50, map50_95 and the like on the test images; None without any."""
        if self.root is None or not self.tested:
            return None
        inference = PredictorInference(TorchPredictor(model), NmsOptions())
        return evaluate_images(inference, *self._test_images).metrics

    @cached_property
    def _test_images(self) -> tuple[list[Path], list[Annotation], tuple[str, ...]]:
        """Their files, what should be found in each, and the classes as the data set spells them."""
        assert self.root is not None
        paths = images_in(self.root, "test")
        return paths, *truth_of(self.root, paths, self.classes)


def _targets(number: int, note: Annotation, imgsz: int) -> NDArray[np.float32]:
    """Rows of one image; difficult boxes are left out, as in training."""
    kept = ~note.difficult
    boxes = fit(note.width, note.height, imgsz).to_canvas(note.boxes[kept]) / imgsz
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    heads = np.stack([np.full(len(boxes), number), note.labels[kept]], 1)
    return np.concatenate([heads, centre, size], 1).astype(np.float32)


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
        with damage.told(logger.warning):
            canvases = np.stack([letterbox(read_image(path), model.spec.imgsz)[0] for path in chosen])
        images = torch.from_numpy(canvases).permute(0, 3, 1, 2).float() / 255
        tested = root is not None and has_image_set(root, "test")
        yield Sample(images, tuple(chosen), root, model.spec.classes, tested)


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
