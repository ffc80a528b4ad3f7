import pytest

from yoloslim.config import parse_params
from yoloslim.errors import ConfigError


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"cron": "at two"}, "'at two' is no cron line"),
        ({"timezone": "Berlin"}, "'Berlin' is no time zone; write one such as Europe/Berlin"),
        ({"timezone": ""}, "'' is no time zone"),
    ],
)
def test_a_wrong_time_is_said_before_anything_starts(schedule: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_params({"schedule": schedule})
