import torch
from benchmarks.halves import Halves, put_together, take_apart
from torch import nn

from tests.tiny import shake_norms
from yoloslim.conv import Conv
from yoloslim.models.blocks import Bottleneck
from yoloslim.models.split_blocks import C2f, Split


def test_a_block_taken_apart_computes_the_same_and_comes_back() -> None:
    torch.manual_seed(0)
    block = C2f(6, 8, 2, lambda channels: Bottleneck(channels, True))
    shake_norms(block)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    x, before = torch.rand(2, 6, 5, 5), {name: tensor.clone() for name, tensor in block.state_dict().items()}
    block.eval()
    with torch.no_grad():
        expected = block(x)
        take_apart(block)
        assert isinstance(block.cv1, Halves)
        torch.testing.assert_close(block(x), expected)
        put_together(block)
        torch.testing.assert_close(block(x), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in block.state_dict().items())


def test_what_pruning_left_of_the_halves_is_what_the_split_gives() -> None:
    block = C2f(6, 8, 1, lambda channels: Bottleneck(channels, True))
    take_apart(block)
    assert isinstance(block.cv1, Halves)
    block.cv1[0] = Conv(6, 3)  # as if pruned
    put_together(block)
    assert isinstance(block.split, Split)
    assert block.split.sizes == [3, 4]
    assert block.cv1.conv.weight.shape == (7, 6, 1, 1)
