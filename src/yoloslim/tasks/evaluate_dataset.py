"""Task `eval`: a data set through a model, as VOC's result files and as mAP."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from yoloslim.config.data import DataParams
from yoloslim.data.exif import orientation, swaps_sides, turned_box
from yoloslim.data.images import image_from, read_image_bytes
from yoloslim.data.layouts import check_layout
from yoloslim.data.prepare import prepare
from yoloslim.data.voc import Annotation, annotation_from, parse_annotation, read_annotation
from yoloslim.errors import DataError
from yoloslim.evaluation.evaluate import Evaluation, score
from yoloslim.models.foreign.classes import match_classes
from yoloslim.runner import damage
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.tasks import Inference, boxes_of
from yoloslim.runner.voc import find_dataset, image_set_of, read_image_set, write_results

logger = logging.getLogger(__name__)


@contextmanager
def in_voc_layout(path: Path, layout: str = "auto") -> Iterator[Path]:
    """The data set `path` in VOC layout: as it is if it has that, else prepared in a temporary folder.

    Prepared, its image sets are train, val and test: its own splits, or the shares that `yoloslim train` takes too.

    Raises:
        DataError: it cannot be used.
    """
    check_layout(layout)
    if layout in ("auto", "voc"):
        root = None
        with suppress(RunnerError):
            root = find_dataset(path)
        if root is not None and any((root / "ImageSets" / "Main").glob("*.txt")):
            yield root
            return
    with tempfile.TemporaryDirectory(prefix="yoloslim-eval-") as folder:
        prepared = Path(folder) / "prepared"
        prepare(DataParams.model_validate({"source": layout, "path": str(path)}), prepared)
        try:
            yield prepared
        except DataError as error:  # that folder is nobody's
            raise DataError(str(error).replace(f"{prepared}/", f"{path}, as VOC: ")) from error


def has_image_set(root: Path, name: str) -> bool:
    """Whether a data set in VOC layout has an image set of this name."""
    return (root / "ImageSets" / "Main" / f"{name}.txt").is_file()


def images_in(root: Path, image_set: str) -> list[Path]:
    """The image files of an image set.

    Raises:
        DataError: no such set, or an image of it is missing.
    """
    with _runner_errors():
        return read_image_set(image_set_of(root, image_set), root / "JPEGImages")


def evaluate_dataset(
    inference: Inference, dataset: Path, image_set: str, out_dir: Path | None = None, layout: str = "auto"
) -> Evaluation:
    """Detect on an image set and score what was found.

    Args:
        inference: the model.
        dataset: a data set of any layout; in VOC's the folder with JPEGImages, Annotations and ImageSets, or the one
            above it (VOCdevkit).
        image_set: name of a file in ImageSets/Main; of other layouts train, val or test.
        out_dir: for VOC's result files, one a class; None writes none.
        layout: of the data set; `auto` finds out.

    Raises:
        DataError: no such data set or image set, a missing or broken image or annotation, or a class that the model
            does not know.
    """
    with in_voc_layout(dataset, layout) as root:
        paths = images_in(root, image_set)
        truth, classes = truth_of(root, paths, inference.classes)
        result = evaluate_images(inference, paths, truth, classes)
    if out_dir is not None:
        with _runner_errors():
            notes = write_results(out_dir, image_set, classes, [path.stem for path in paths], result.detections)
        for note in notes:
            logger.warning(note)
    return result


def evaluate_images(
    inference: Inference, paths: Sequence[Path], truth: Sequence[Annotation], classes: Sequence[str]
) -> Evaluation:
    """Detect on images and score what was found.

    Args:
        inference: the model.
        paths: of the images.
        truth: what should be found in each.
        classes: those of the model, as the data set spells them.

    Raises:
        DataError: an image is missing or broken.
    """
    with _runner_errors(), damage.told(logger.warning):
        found = list(boxes_of(inference, paths))
    return score(truth, found, classes)


@contextmanager
def _runner_errors() -> Iterator[None]:
    """What the runner, which stands alone, refuses, as `DataError`."""
    try:
        yield
    except RunnerError as error:
        raise DataError(str(error)) from error


def truth_of(
    root: Path, paths: Sequence[Path], known: Sequence[str], tell: bool = True
) -> tuple[list[Annotation], tuple[str, ...]]:
    """What should be found in images of a data set in VOC layout, and the classes of a model as it spells them.

    Args:
        root: of the data set.
        paths: of the images.
        known: the classes of the model.
        tell: log which of them the data set spells otherwise.

    Raises:
        DataError: a missing or broken annotation, or a class that the model does not know.
    """
    files = [root / "Annotations" / f"{path.stem}.xml" for path in paths]
    classes = _as_in(files, known, logging.INFO if tell else logging.DEBUG)
    return _upright([read_annotation(file, classes) for file in files], paths), classes


def _upright(truth: list[Annotation], paths: Sequence[Path]) -> list[Annotation]:
    """Boxes as they lie on upright pixels, where images have an EXIF orientation and annotations are of stored pixels.

    Sizes tell which: a stage `data` decides alike. Where they cannot, boxes are taken to be of upright pixels.
    """
    result, stored, unclear = [], 0, 0
    for note, path in zip(truth, paths, strict=True):
        data = read_image_bytes(path)
        value = orientation(data)
        if value == 1:
            result.append(note)
            continue
        height, width = image_from(data, path).shape[:2]  # upright
        if not swaps_sides(value) or width == height:
            unclear += 1
        elif (note.width, note.height) == (height, width):
            boxes = [turned_box(tuple(box), (note.width, note.height), value) for box in note.boxes.tolist()]
            marks = note.labels.tolist(), note.difficult.tolist(), note.truncated.tolist()
            note = annotation_from(width, height, boxes, *marks)
            stored += 1
        result.append(note)
    if stored:
        logger.info("%d images are turned by their EXIF orientation, and so are their boxes", stored)
    if unclear:
        logger.warning("%d images are turned by their EXIF orientation; boxes are taken to be of them upright", unclear)
    return result


def _as_in(files: Sequence[Path], classes: Sequence[str], level: int) -> tuple[str, ...]:
    """The classes of a model, those of them spelled as in annotations that the data set spells otherwise."""
    names = dict.fromkeys(item.name for file in files for item in parse_annotation(file).objects)
    other = {known: name for name, known in match_classes(list(names), classes).items() if name != known}
    if other:
        logger.log(level, "spelled otherwise in the data: %s", ", ".join(f"{a} is {b}" for a, b in other.items()))
    return tuple(other.get(name, name) for name in classes)
