import pytest

from yoloslim.deploy.board.target import SshTarget, parse_target
from yoloslim.errors import DeployError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("local", None),
        ("ssh://pi@10.0.0.2", SshTarget("10.0.0.2", "pi")),
        ("ssh://board:2222/data/runs/", SshTarget("board", None, 2222, "/data/runs")),
        ("ssh://u@[fe80::1]:22", SshTarget("fe80::1", "u", 22)),
    ],
)
def test_targets_are_parsed(text: str, expected: SshTarget | None) -> None:
    assert parse_target(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ssh://u:secret@host", "holds a password"),
        ("host", "neither local nor ssh://"),
        ("ssh://u@host:99999", "port 99999"),
        ("ssh://", "neither"),
    ],
)
def test_targets_that_make_no_sense_are_refused(text: str, message: str) -> None:
    with pytest.raises(DeployError, match=message) as caught:
        parse_target(text)
    assert "secret" not in str(caught.value)
