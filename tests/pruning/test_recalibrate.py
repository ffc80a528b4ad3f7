import copy

import torch
from tests.pruning.networks import NETWORKS, randomise
from torch import nn

from yoloslim.models.detector import build_detector
from yoloslim.pruning.recalibrate import recalibrate
from yoloslim.torch_threads import torch_threads


def network() -> nn.Module:
    return randomise(NETWORKS["Residual"]())


def test_statistics_become_the_average_over_batches() -> None:
    model = network()
    batches = [torch.rand(4, 3, 16, 16).double() for _ in range(5)]
    assert recalibrate(model, batches) == 20
    arriving = torch.stack([model.stem.conv(x) for x in batches])  # type: ignore[union-attr, operator]
    norm = model.stem.bn
    torch.testing.assert_close(norm.running_mean, arriving.mean((0, 1, 3, 4)))  # type: ignore[union-attr]
    expected = torch.stack([y.transpose(0, 1).flatten(1).var(1) for y in arriving]).mean(0)
    torch.testing.assert_close(norm.running_var, expected)  # type: ignore[union-attr]


def test_everything_else_stays_as_it_was() -> None:
    model = network().train()
    model.head.eval()  # type: ignore[union-attr, operator]
    before = {name: value.clone() for name, value in model.named_parameters()}
    modes = {name: module.training for name, module in model.named_modules()}
    momenta = {name: m.momentum for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    recalibrate(model, [torch.rand(2, 3, 16, 16).double()])
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert modes == {name: module.training for name, module in model.named_modules()}
    assert momenta == {name: m.momentum for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}


def test_fixed_parts_keep_their_statistics() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.named_buffers()}
    recalibrate(model, [torch.rand(2, 3, 16, 16).double()], fixed=[model.stem])  # type: ignore[list-item]
    changed = {name.split(".")[0] for name, value in model.named_buffers() if not torch.equal(value, before[name])}
    assert changed
    assert changed == {name.split(".")[0] for name in before} - {"stem"}


def test_without_batches_the_statistics_stay() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.named_buffers()}
    assert recalibrate(model, []) == 0
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


def test_any_number_of_threads_finds_the_same_statistics() -> None:
    batches = torch.rand(2, 8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    start, found = build_detector("yolov5n", ("a",), 64), []
    for threads in (1, 2, 4):
        model = copy.deepcopy(start)
        with torch_threads(threads):
            recalibrate(model, batches)
            assert torch.get_num_threads() == threads
        found.append(b"".join(value.numpy().tobytes() for value in model.buffers()))
    assert found[0] == found[1] == found[2]
