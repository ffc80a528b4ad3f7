"""Who may teach: a model that answers in the same form."""

from typing import Any

from yoloslim.models.spec import ModelSpec


def cannot_teach(teacher: ModelSpec, name: str, theirs: Any, mine: Any) -> str:
    """The sentence on a teacher that differs where student and teacher must agree; empty where they do.

    Args:
        teacher: its description.
        name: of what is compared.
        theirs: the teacher's.
        mine: the student's.
    """
    if mine == theirs:
        return ""
    return (
        f"the teacher {teacher.name} has {name} {theirs!r}, the student {mine!r}: only a model that answers in the "
        "same form can teach; choose another finetune.teacher, or none: finetune.distill_output=0 and distill_feature=0"
    )


def form_differs(teacher: ModelSpec, student: ModelSpec) -> str:
    """Why one cannot teach the other; empty where it can."""
    return cannot_teach(teacher, "classes", teacher.classes, student.classes) or cannot_teach(
        teacher, "head", teacher.head, student.head
    )
