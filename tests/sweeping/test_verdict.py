from tests.sweeping.test_constraints import DENSE, HALF, TINY
from yoloslim.config.sweep import SweepParams
from yoloslim.sweeping.verdict import judge


def test_a_speed_up_that_was_timed_beside_other_programs_is_said_to_be() -> None:
    timed = HALF | {"speedup": 7.19, "latency_other_cores": 1.64}
    why = judge({"50": timed, "70": TINY}, DENSE, SweepParams()).why
    assert "7.2 times as fast (timed while other programs used 1.6 cores: time it again on a quiet machine)" in why
    assert "other programs" not in judge({"50": timed | {"latency_other_cores": 0.1}}, DENSE, SweepParams()).why


def test_a_winner_that_is_alone_is_the_one_and_the_next_is_a_percent() -> None:
    assert judge({"50": HALF}, DENSE, SweepParams()).why.startswith("the one finetuned point that satisfies the cons")
    both = judge({"40": HALF, "50": HALF, "70": TINY}, DENSE, SweepParams()).why
    assert both.startswith("the smallest of 2 finetuned points that satisfy the constraints: ")
    assert "; the next, 70 %, loses " in both


def test_what_neither_loses_nor_gains_is_not_said_to_gain_less_than_nothing() -> None:
    assert "gains 0.000 map50" in judge({"50": HALF | {"map50": DENSE["map50"]}}, DENSE, SweepParams()).why
