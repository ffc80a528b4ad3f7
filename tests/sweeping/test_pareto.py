from yoloslim.sweeping.pareto import pareto_front


def test_points_that_another_beats_in_both_are_left_out() -> None:
    points = {"dear": (3.0, -0.7), "cheap": (1.0, -0.5), "beaten": (2.0, -0.4), "middle": (2.0, -0.6)}
    assert pareto_front(points) == ["cheap", "middle", "dear"]


def test_of_equal_points_one_is_kept() -> None:
    assert pareto_front({"a": (1.0, 2.0), "b": (1.0, 2.0)}) == ["a"]
    assert pareto_front({}) == []
