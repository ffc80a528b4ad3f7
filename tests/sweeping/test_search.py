import math

import pytest

from tests.sweeping.curves import BASELINE, SPARSE, Curves, exhaustive, finetuned, probed, search_along
from yoloslim.config.sweep import SweepParams
from yoloslim.sweeping.search import Measured, Search

GRID = SweepParams(low=10, high=95, step=5)
FINE = SweepParams(low=10, high=95, step=1)
THIRD = len(GRID.percents) // 3
CLIFFS = (0, 4, 9, 10, 11, 29, 30, 37, 50, 52, 69, 71, 88, 94, 95, 99)


@pytest.mark.parametrize("cliff", CLIFFS)
def test_the_sweep_finds_what_the_grid_finds_with_a_third_of_its_finetunings(cliff: int) -> None:
    for knee in (0, 5, 8, 20, 45, 63, 80, 90, 95, 99):
        curves = Curves(cliff, knee)
        verdict, _, _ = search_along(curves, GRID)
        assert verdict.winner == exhaustive(curves, GRID)
        assert len(finetuned(curves)) <= THIRD


@pytest.mark.parametrize("seed", range(40))
def test_noise_moves_the_winner_by_no_more_than_a_step(seed: int) -> None:
    curves = Curves(cliff=40 + seed, knee=35 + seed, noise=0.004, seed=seed)
    verdict, _, _ = search_along(curves, GRID)
    best = exhaustive(curves, GRID)
    assert verdict.winner is not None
    assert best is not None
    assert abs(int(verdict.winner) - int(best)) <= GRID.step
    assert not verdict.missed[verdict.winner]
    assert len(finetuned(curves)) <= THIRD + 1


def test_noise_changes_few_winners() -> None:
    same = 0
    for seed in range(100):
        curves = Curves(cliff=30 + seed % 60, knee=20 + seed % 70, noise=0.004, seed=seed)
        same += search_along(curves, GRID)[0].winner == exhaustive(curves, GRID)
    assert same >= 95


def test_one_percent_steps_take_few_finetunings_of_the_grid() -> None:
    worst = 0
    for cliff in (0, 33, 70, 99):
        for knee in range(3, 100, 12):
            curves = Curves(cliff, knee)
            assert search_along(curves, FINE)[0].winner == exhaustive(curves, FINE)
            worst = max(worst, len(finetuned(curves)))
    assert worst == math.ceil(math.log2(86 + 1)) + 1 == 8


def test_a_dent_is_looked_behind() -> None:
    curves = Curves(cliff=65, knee=60)
    curves.errors[65] = -0.1
    verdict, _, _ = search_along(curves, GRID)
    assert [ask.percent for ask in curves.ran if ask.why == "whether 65 % was only a dent"] == [70]
    assert verdict.winner == "60"


def test_a_curve_that_goes_on_behind_a_dent_is_followed() -> None:
    curves = Curves(cliff=60, knee=90)
    curves.errors[65] = -0.1
    verdict, _, _ = search_along(curves, GRID)
    assert verdict.winner == "90"


@pytest.mark.parametrize("ways", [1, 2, 3, 8])
def test_the_cliff_is_known_to_one_percent(ways: int) -> None:
    for cliff in range(10, 95, 3):
        curves = Curves(cliff, 50)
        _, search, table = search_along(curves, GRID, ways)
        assert search.cliff(table) == cliff
        assert {cliff, cliff + 1} <= set(probed(curves)) or cliff + 1 > 95
        assert len(probed(curves)) <= 6 + 5 * ways


def test_no_cliff_starts_at_the_end_and_says_so() -> None:
    curves = Curves(cliff=99, knee=95)
    verdict, search, table = search_along(curves, GRID)
    assert search.cliff(table) is None
    assert curves.ran[len(probed(curves))].why.startswith("first guess: there is no cliff before finetuning")
    assert verdict.winner == "95"
    assert len(probed(curves)) == 6


def test_cliff_before_the_first_point_is_told_and_finetuning_may_still_recover() -> None:
    curves = Curves(cliff=5, knee=55)
    verdict, search, table = search_along(curves, GRID)
    assert search.cliff(table) == 0
    assert "even the first cut falls before finetuning" in curves.ran[len(probed(curves))].why
    assert verdict.winner == exhaustive(curves, GRID) == "55"


def test_one_point_only() -> None:
    params = SweepParams(low=50, high=50)
    curves = Curves(70, 70)
    verdict, _, _ = search_along(curves, params)
    assert (probed(curves), finetuned(curves), verdict.winner) == ([50], [50], "50")


def test_constraints_that_no_point_meets_name_the_closest_and_what_it_misses() -> None:
    params = GRID.model_copy(update={"max_params_m": 0.5})
    verdict, _, _ = search_along(Curves(40, 40), params)
    assert verdict.winner is None
    assert verdict.closest == "70"
    assert verdict.why.startswith(
        "no point satisfies the constraints; 70 % comes closest: it loses 0.192 map50, allowed 0.03 and has 0.603 M"
    )


def test_no_map_can_be_kept() -> None:
    params = GRID.model_copy(update={"max_map_drop": 0.0})
    verdict, _, _ = search_along(Curves(40, 40), params)
    assert (verdict.winner, verdict.closest) == (None, "10")
    assert "loses 0.006 map50, allowed 0" in verdict.why


def test_most_accurate_within_a_budget_is_the_least_pruned_that_fits() -> None:
    params = GRID.model_copy(update={"objective": "accurate", "max_latency_ms": 2.5})
    curves = Curves(40, 60)
    verdict, _, _ = search_along(curves, params)
    assert verdict.winner == exhaustive(curves, params) == "50"
    assert len(finetuned(curves)) <= THIRD


def test_most_accurate_without_budgets_needs_no_search() -> None:
    params = GRID.model_copy(update={"objective": "accurate"})
    curves = Curves(40, 30)
    verdict, _, _ = search_along(curves, params)
    assert verdict.winner == exhaustive(curves, params) == "10"
    assert finetuned(curves) == [10]


def test_smallest_within_the_allowed_loss() -> None:
    params = GRID.model_copy(update={"objective": "smallest", "max_size_mb": 5})
    curves = Curves(40, 60)
    assert search_along(curves, params)[0].winner == exhaustive(curves, params) == "60"


def test_listed_percents_are_finetuned_first_and_save_others() -> None:
    curves = Curves(70, 62)
    verdict, _, _ = search_along(curves, GRID, listed=(30, 50, 70, 97))
    assert verdict.winner == exhaustive(curves, GRID)
    assert [ask.percent for ask in curves.ran if ask.why == "params.yaml lists it"] == [30, 50, 70]
    assert len(finetuned(curves)) <= 7


def test_a_point_that_failed_is_passed_over() -> None:
    params = GRID.model_copy(update={"objective": "smallest"})
    curves = Curves(60, 62)
    search, table = Search(params, BASELINE, SPARSE), {50: Measured(error="gone"), 60: Measured(error="gone")}
    while asks := search.next(table):
        for ask in asks:
            assert ask.percent not in (50, 60)
            table[ask.percent] = curves.run(ask, table.get(ask.percent))
    assert table[65].deployed
    assert table[55].deployed


def test_nothing_is_asked_where_everything_failed() -> None:
    search = Search(GRID, BASELINE, SPARSE)
    assert search.next({p: Measured(error="gone") for p in range(10, 96)}) == []


def test_every_question_says_why() -> None:
    curves = Curves(62, 75)
    search_along(curves, GRID)
    whys = {ask.percent: ask.why for ask in curves.ran if ask.kind == "finetune"}
    assert whys[60] == "first guess: the cliff before finetuning is at 62 %"
    assert any("keeps its mAP" in why and "loses too much" in why for why in whys.values())
