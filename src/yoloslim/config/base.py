"""What every section of params.yaml is made of."""

from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Unit = Annotated[float, Field(ge=0, le=1)]


def fits_strides(value: int) -> int:
    """Refuse an image side that the network cannot halve five times."""
    if value % 32:
        raise ValueError(f"must be a multiple of 32; nearest are {value // 32 * 32} and {value // 32 * 32 + 32}")
    return value


Side = Annotated[int, Field(ge=32, le=4096), AfterValidator(fits_strides)]
"""Side of an image as the network sees it, px."""


class Section(BaseModel):
    """Base of all sections: frozen, closed to unknown keys, to infinities, and to `true` for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = _kinds(cls.model_fields[info.field_name or ""].annotation)
        if kinds & {int, float} and bool not in kinds and _has_bool(value):
            raise ValueError("true and false are no numbers; write the number")
        return value


def _kinds(annotation: Any) -> set[Any]:
    """The plain types an annotation is made of."""
    return set().union(*map(_kinds, get_args(annotation))) if get_args(annotation) else {annotation}


def _has_bool(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, (list, tuple)) and any(isinstance(v, bool) for v in value))
