from pathlib import Path
from typing import get_args

import pytest

from tests.results.made import finished
from yoloslim.results.records import Row, Unpruned
from yoloslim.tracking.origin import DESCRIBED, MADE_BY, described

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", get_args(Unpruned))
def test_every_kind_of_model_says_what_it_is(kind: Unpruned) -> None:
    assert described(Row(kind, kind), []) == DESCRIBED[kind]


def test_a_pruned_model_is_described_by_what_came_out() -> None:
    rows = [finished(0, 0.8, 2.0), finished(50, 0.78, 0.82, fps=160)]
    assert described(rows[1], rows).startswith("50 % pruned and finetuned: mAP50 0.780")


def test_every_kind_of_run_names_a_script_that_is_there() -> None:
    assert {*get_args(Unpruned), "pruned", "sweep"} == set(MADE_BY)
    assert all((ROOT / script).is_file() for script in MADE_BY.values())
