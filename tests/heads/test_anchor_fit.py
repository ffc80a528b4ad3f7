import warnings

import pytest
import torch

from yoloslim.config import TrainParams
from yoloslim.heads.anchor_fit import fit_anchors, mean_fit, possible_recall
from yoloslim.models.zoo import build_spec

PROPOSED = build_spec("yolov5n", ("a",)).head.anchors


def spread(count: int, low: float, high: float) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return low * (high / low) ** torch.rand(count, 2, generator=rng)


def test_recall_by_hand() -> None:
    sizes = torch.tensor([[10.0, 10], [39, 10], [41, 10], [10, 2.4], [100, 100]])
    assert possible_recall(sizes, torch.tensor([[10.0, 10.0]]), 4.0) == pytest.approx(2 / 5)
    assert possible_recall(sizes, torch.tensor([[10.0, 10.0], [100.0, 50.0]]), 4.0) == pytest.approx(3 / 5)


def test_mean_fit_by_hand() -> None:
    sizes = torch.tensor([[10.0, 10], [20, 10], [5, 40]])
    assert mean_fit(sizes, torch.tensor([[10.0, 10.0], [100.0, 100.0]])) == pytest.approx((1 + 1 / 2 + 1 / 4) / 3)


def test_anchors_are_scaled_to_the_image_where_that_fits_better() -> None:
    found = fit_anchors(spread(200, 6, 60), PROPOSED, 192, 4.0)
    assert found[0] == ((3.0, 3.9), (4.8, 9.0), (9.9, 6.9))
    assert fit_anchors(spread(200, 20, 200), PROPOSED, 192, 4.0) is PROPOSED


def test_trained_anchors_stay_where_they_suit_and_are_given_up_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    head, params = build_spec("yolov5n", ("a",)).head, TrainParams()
    small = spread(200, 6, 60)
    assert head.fitted(small, 192, params, 0).anchors[0][0] == (3.0, 3.9)
    assert head.fitted(small, 192, params, 0, made_for=640) is head
    assert not caplog.records
    some = torch.cat([spread(380, 6, 60), torch.full((20, 2), 2.0)])  # the least anchor, 10 x 13, matches from 3.25 px
    assert head.fitted(some, 192, params, 0, made_for=640) is head
    assert "are kept: 95.0 % of boxes can be matched, 20 of 400 cannot, and are not learnt" in caplog.text
    assert head.fitted(spread(200, 2, 10), 192, params, 0, made_for=640).anchors != head.anchors
    assert "are replaced: the boxes are learnt anew" in caplog.text


def test_anchors_that_suit_are_kept() -> None:
    assert fit_anchors(spread(200, 20, 200), PROPOSED, 640, 4.0) is PROPOSED


def test_anchors_that_do_not_suit_are_replaced_by_better_ones_ordered_by_area() -> None:
    sizes = spread(300, 2, 10)
    found = fit_anchors(sizes, PROPOSED, 640, 4.0)
    flat = torch.tensor([a for level in found for a in level])
    assert [len(level) for level in found] == [3, 3, 3]
    assert possible_recall(sizes, flat, 4.0) > possible_recall(sizes, torch.tensor(PROPOSED).view(-1, 2), 4.0)
    assert possible_recall(sizes, flat, 4.0) > 0.98
    assert flat.prod(1).tolist() == sorted(flat.prod(1).tolist())
    assert found == fit_anchors(sizes, PROPOSED, 640, 4.0)


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_boxes_leave_the_anchors_alone(count: int) -> None:
    assert fit_anchors(torch.full((count, 2), 2.0), PROPOSED, 640, 4.0) is PROPOSED


def test_boxes_all_of_one_size_give_anchors_of_that_size_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_anchors(torch.tensor([[400.0, 4.0]]).repeat(50, 1), PROPOSED, 640, 4.0)
    assert {anchor for level in found for anchor in level} == {(400.0, 4.0)}


def test_boxes_without_area_do_not_count() -> None:
    sizes = torch.cat([spread(200, 20, 200), torch.zeros(100, 2)])
    assert fit_anchors(sizes, PROPOSED, 640, 4.0) is PROPOSED
