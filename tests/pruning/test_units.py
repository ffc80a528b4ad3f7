import numpy as np
import pytest
import torch
from tests.pruning.networks import randomise
from torch import nn

from yoloslim.errors import PruneError
from yoloslim.models.detector import Detector, build_detector, count_params
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut
from yoloslim.pruning.units import rank_units, remove_units


def model_with_weak_units() -> Detector:
    model = build_detector("yolov5n", ("a", "b"))
    randomise(model)
    for strength, unit in ((0.01, "model.6.m.1"), (0.02, "model.2.m.0")):
        nn.init.constant_(model.get_submodule(f"{unit}.cv2.bn").weight, strength)  # type: ignore[arg-type]
    return model


def test_units_are_ranked_by_the_scales_before_their_sum() -> None:
    ranked = rank_units(model_with_weak_units())
    assert [path for path, _ in ranked[:2]] == ["model.6.m.1", "model.2.m.0"]
    assert [score for _, score in ranked[:2]] == pytest.approx([0.01, 0.02])
    assert len(ranked) == 7


def test_a_removed_unit_leaves_the_identity() -> None:
    model = model_with_weak_units()
    smaller, paths = remove_units(model, 2)
    assert smaller.spec.removed == ("model.6.m.1", "model.2.m.0") == tuple(paths)
    for path in paths:  # a silent branch adds nothing: the same function
        nn.init.zeros_(model.get_submodule(f"{path}.cv2.bn").weight)  # type: ignore[arg-type]
        nn.init.zeros_(model.get_submodule(f"{path}.cv2.bn").bias)  # type: ignore[arg-type]
    x = torch.rand(1, 3, 64, 64).double()
    for p, q in zip(model(x), smaller(x), strict=True):
        assert torch.equal(p, q)


def test_units_go_after_channels_and_the_model_still_loads() -> None:
    model = model_with_weak_units()
    coupling = find_coupling(model)
    pruned = cut(
        model, coupling, select_channels(model, coupling, PruneRequest(scope="coupled", percent=40, round_to=1)).keep
    )
    smaller, paths = remove_units(pruned, 3)
    assert count_params(smaller) < count_params(pruned)
    again = Detector(smaller.spec).double().eval()
    again.load_state_dict(smaller.state_dict())
    x = torch.rand(1, 3, 64, 64).double()
    assert all(torch.equal(p, q) for p, q in zip(again(x), smaller(x), strict=True))
    assert set(paths) == set(smaller.spec.removed)


def test_more_units_than_there_are_removes_all_and_none_removes_none() -> None:
    model = model_with_weak_units()
    assert len(remove_units(model, 99)[1]) == 7
    assert remove_units(model, 0)[1] == []
    assert rank_units(remove_units(model, 99)[0]) == []


def test_faults_are_named() -> None:
    model = model_with_weak_units()
    with pytest.raises(PruneError, match="residual_units=-1"):
        remove_units(model, -1)
    nn.init.constant_(model.get_submodule("model.8.m.0.cv2.bn").weight, np.nan)  # type: ignore[arg-type]
    with pytest.raises(PruneError, match=r"model\.8\.m\.0\.cv2\.bn"):
        remove_units(model, 1)
