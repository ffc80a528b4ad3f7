"""Section `schedule`: when the nightly sweep starts."""

import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from yoloslim.config.base import Section


class ScheduleParams(Section):
    """When the nightly sweep starts."""

    cron: str = Field("0 2 * * *", description="minute, hour, day, month, weekday")
    timezone: str = "UTC"

    @field_validator("cron")
    @classmethod
    def _cron_has_five_fields(cls, value: str) -> str:
        value = value.strip().strip("'\"")  # quoted twice, by a person and by YAML
        if not re.fullmatch(r"\s*(\S+\s+){4}\S+\s*", value):
            raise ValueError(f"'{value}' is no cron line: minute hour day month weekday, such as 0 2 * * *")
        return value

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"'{value}' is no time zone; write one such as Europe/Berlin") from error
        return value
