"""A replay of the damages to MLflow's database, one of each kind, through the command as typed."""

import random
from pathlib import Path

import pytest

from tests.campaigns.database_damage import DAMAGES, attempt, logged


@pytest.mark.slow
def test_the_command_that_logs_answers_to_a_damaged_database_in_words(tmp_path: Path) -> None:
    whole = logged(tmp_path / "whole")
    kinds = set()
    for number in range(len(DAMAGES)):
        kind, wrong = attempt(whole, tmp_path / str(number), number, random.Random(f"0/{number}"), typed=True)
        assert not wrong
        kinds.add(kind)
    assert "is damaged" in kinds
