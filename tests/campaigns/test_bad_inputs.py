"""A replay of the campaign of bad inputs, every few of each kind, through the commands themselves."""

from pathlib import Path

import pytest

from tests.campaigns.assets import Assets, make_assets
from tests.campaigns.bad_inputs import all_cases, in_process_of_its_own, table
from tests.campaigns.harness import Case, Outcome, attempt, judge, warm

STEP = 8
"""One in so many is replayed; `python -m tests.campaigns.bad_inputs` tries all."""


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Assets:
    warm()
    return make_assets(tmp_path_factory.mktemp("campaign") / "assets")


@pytest.fixture
def cases(assets: Assets) -> list[Case]:
    return list(all_cases(assets))


@pytest.mark.slow
def test_bad_inputs_are_answered_in_words_and_in_time(cases: list[Case], tmp_path: Path) -> None:
    outcomes = [attempt(case, tmp_path / str(i)) for i, case in enumerate(cases[::STEP])]
    wrong = [f"{o.case.name}: {o.faults}\n{o.output[-800:]}" for o in outcomes if o.faults]
    assert not wrong, table(outcomes) + "\n\n" + "\n".join(wrong)
    assert len(outcomes) > 20


@pytest.mark.slow
def test_a_real_command_answers_like_the_fork(cases: list[Case], tmp_path: Path) -> None:
    outcome = in_process_of_its_own(cases[0], tmp_path / "real")
    assert outcome.faults == ()
    assert outcome.code == attempt(cases[0], tmp_path / "fork").code == 1


@pytest.mark.parametrize(
    ("expected", "code", "output", "cpu_s", "peak_mb", "faults"),
    [
        ("refused", 1, "error: a.yaml is empty", 0, 0, ()),
        ("refused", 0, "a.yaml", 0, 0, ("accepted",)),
        ("refused", 1, "error: something", 0, 0, ("vague",)),
        ("refused", 1, "", 0, 0, ("vague",)),
        ("said", 0, "left out a.yaml", 0, 0, ()),
        ("said", 0, "done", 0, 0, ("accepted",)),
        ("answered", 0, "done", 0, 0, ()),
        ("answered", 1, "Traceback (most recent call last):\nValueError: a.yaml", 0, 0, ("traceback",)),
        ("answered", -11, "a.yaml", 0, 0, ("traceback",)),
        ("refused", -9, "a.yaml", 30, 0, ("hang",)),
        ("refused", 1, "a.yaml", 6, 3000, ("hang", "memory")),
    ],
)
def test_verdicts(expected: str, code: int, output: str, cpu_s: float, peak_mb: float, faults: tuple[str, ...]) -> None:
    case = Case("x/y", lambda folder: [], expected, "a.yaml")  # type: ignore[arg-type]
    assert judge(case, code, output, cpu_s, peak_mb) == faults
    assert Outcome(case, faults, code, output, cpu_s, peak_mb).case.kind == "x"
