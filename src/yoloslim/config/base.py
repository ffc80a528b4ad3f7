"""What every section of params.yaml is made of."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Unit = Annotated[float, Field(ge=0, le=1)]


def fits_strides(value: int) -> int:
    """Refuse an image side that the network cannot halve five times."""
    if value % 32:
        raise ValueError(f"must be a multiple of 32; nearest are {value // 32 * 32} and {value // 32 * 32 + 32}")
    return value


Side = Annotated[int, Field(ge=32, le=4096), AfterValidator(fits_strides)]
"""Side of an image as the network sees it, px."""


class Section(BaseModel):
    """Base of all sections: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
