import pytest
import torch
from torch import nn

from tests.tiny import shake_norms, tiny_detector
from tests.training.test_fit import fit, task, train_params
from yoloslim.errors import TrainError
from yoloslim.models.detector import Detector, build_detector
from yoloslim.training.network import SyncNorm, prepare


def gradients(model: Detector) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    heads = model(torch.rand(2, 3, 64, 64))
    sum(head.square().sum() for head in heads).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_prepared_network_computes_the_same_gradients() -> None:
    expected = gradients(tiny_detector())
    actual = gradients(prepare(tiny_detector(), train_params()))
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-4, atol=1e-4)


def test_frozen_layers_keep_weights_and_statistics() -> None:
    start = tiny_detector()
    shake_norms(start)
    result = fit(task(2, model=start, train={"freeze": 4}))
    before = start.state_dict()
    changed = {name for name, value in result.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert not any(name.startswith(f"model.{i}.") for name in changed for i in range(4))
    assert {name.split(".")[1] for name in changed} == {"4", "5", "6"}


@pytest.mark.parametrize("name", ["yolov5n", "yolov8n", "yolo26n"])
def test_all_is_trained_but_the_bins_of_distances(name: str) -> None:
    """Those have no gradient, which processes that train together would wait for."""
    model = build_detector(name, ("a", "b"), 64).requires_grad_(False)  # as what comes out of a training
    prepare(model, train_params())
    fixed = {path for path, value in model.named_parameters() if not value.requires_grad}
    assert fixed == ({"model.22.dfl.conv.weight"} if name == "yolov8n" else set())


def test_freezing_everything_is_refused() -> None:
    with pytest.raises(TrainError, match=r"train.freeze is 7, but tiny has 7 layers: .* set it to 6 or less"):
        prepare(tiny_detector(), train_params(freeze=7))


def test_synchronised_norm_of_one_process_is_plain_batch_norm() -> None:
    model = prepare(tiny_detector(), train_params(sync_bn=True))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert all(isinstance(norm, SyncNorm) for norm in norms)
    x = torch.rand(2, 4, 8, 8)
    plain = nn.BatchNorm2d(4, eps=norms[0].eps, momentum=norms[0].momentum)
    torch.testing.assert_close(norms[0](x), plain(x))
    assert not any(isinstance(m, SyncNorm) for m in fit(task(1, train={"sync_bn": True})).model.modules())
