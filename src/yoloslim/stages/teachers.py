"""Whom finetuned models learn from: looked at before anything is trained, not hours later."""

from pathlib import Path
from typing import TypeGuard

from yoloslim.config import Params
from yoloslim.documents import read_yaml
from yoloslim.errors import TrainError, YoloslimError
from yoloslim.models.header import described
from yoloslim.models.spec import ModelSpec
from yoloslim.models.zoo import build_spec
from yoloslim.stages.common import DATA, MODELS
from yoloslim.training.teachers import cannot_teach, form_differs


def teacher_file(params: Params) -> Path | None:
    """The file that `finetune.teacher` names; None where nobody teaches."""
    path = Path(params.finetune.teacher)
    if not params.finetune.is_taught:
        return None
    return path / "model.safetensors" if path.is_dir() else path


def is_given(file: Path | None) -> TypeGuard[Path]:
    """Whether there is a teacher, and no stage makes it."""
    return file is not None and file.parts[:1] != MODELS.parts


def missing_teacher(params: Params) -> str:
    """What is said where there is no such file."""
    return (
        f"finetune.teacher: {params.finetune.teacher} is missing; name models/baseline, models/sparse, "
        "models/control/dense (with dense in controls), or a file of a model of the same classes"
    )


def given_teacher(params: Params) -> tuple[Path, ModelSpec | None] | None:
    """A teacher that no stage makes and that is here, with its description where the file tells it at once.

    Raises:
        ModelError: no readable model file.
    """
    file = teacher_file(params)
    return (file, described(file)) if is_given(file) and file.is_file() else None


def unfit(params: Params) -> str:
    """Why the teacher that is given cannot teach what will be trained, as far as that is known now; empty else.

    Anchors are chosen by the boxes, and a head may come with `baseline.weights`: see `expect_form_of`.

    Raises:
        ModelError: no readable model file, or no model of that name.
    """
    _, teacher = given_teacher(params) or (None, None)
    if teacher is None:
        return ""
    classes = _prepared_classes(params)
    said = cannot_teach(teacher, "classes", teacher.classes, classes) if classes else ""
    if said or params.baseline.weights:
        return said
    theirs, mine = (
        {name: value for name, value in head.model_dump().items() if name != "anchors"}
        for head in (teacher.head, build_spec(params.model, teacher.classes, params.imgsz).head)
    )
    return next((s for name in mine if (s := cannot_teach(teacher, f"head {name}", theirs.get(name), mine[name]))), "")


def expect_form_of(params: Params, student: ModelSpec) -> None:
    """Fail before a training where the teacher that is given could not teach what comes of it.

    Raises:
        TrainError: it has other classes or another head.
        ModelError: no readable model file.
    """
    from yoloslim.models.foreign.load import read_model

    if found := given_teacher(params):
        file, teacher = found
        if said := form_differs(teacher or read_model(file).spec, student):
            raise TrainError(f"finetune.teacher {file}: {said}")


def _prepared_classes(params: Params) -> tuple[str, ...]:
    """Classes of data/voc where it was made from what params.yaml says now; empty where it was not, or is not there."""
    names, now = DATA / "classes.txt", params.model_dump(mode="json")["data"]
    try:
        made_from = read_yaml(Path("dvc.lock"))["stages"]["data"]["params"]["params.yaml"]
        current = all(now[key.removeprefix("data.")] == value for key, value in made_from.items())
        return tuple(names.read_text(encoding="utf-8").splitlines()) if current else ()
    except (YoloslimError, LookupError, TypeError, AttributeError, OSError):
        return ()
