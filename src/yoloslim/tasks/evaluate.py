"""Task `eval`: a data set in VOC layout through a model, as VOC's result files and as mAP."""

from pathlib import Path

from yoloslim.data.voc import read_annotation
from yoloslim.errors import DataError
from yoloslim.evaluation.evaluate import Evaluation, score
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.tasks import Pipeline, detections
from yoloslim.runner.voc import find_dataset, image_set_of, read_image_set, write_results


def evaluate_dataset(pipeline: Pipeline, dataset: Path, image_set: str, out_dir: Path) -> Evaluation:
    """Detect on an image set, write result files to `out_dir`, and score them.

    Args:
        pipeline: the model.
        dataset: a folder with JPEGImages, Annotations and ImageSets, or the folder above it (VOCdevkit).
        image_set: name of a file in ImageSets/Main.
        out_dir: for the result files, one a class.

    Raises:
        DataError: no such data set or image set, a missing or broken image or annotation, or a class that the model
            does not know.
    """
    try:
        root = find_dataset(dataset)
        paths = read_image_set(image_set_of(root, image_set), root / "JPEGImages")
        truth = [read_annotation(root / "Annotations" / f"{path.stem}.xml", pipeline.classes) for path in paths]
        found = [rows for _, _, rows in detections(pipeline, paths)]
        write_results(out_dir, image_set, pipeline.classes, [path.stem for path in paths], found)
    except RunnerError as error:
        raise DataError(str(error)) from error
    return score(truth, found, pipeline.classes)
