"""Layers fitted to what they gave: exact where they can be, nearer where they cannot, and nothing else touched."""

import numpy as np
import torch
from tests.pruning.networks import scramble
from tests.tiny import tiny_detector
from torch import Tensor, nn

from yoloslim.conv import Conv
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.reconstruct import reconstruct
from yoloslim.pruning.selection import select_channels
from yoloslim.pruning.surgery import cut
from yoloslim.torch_threads import torch_threads


class Twins(nn.Module):
    """The second layer gives every channel twice; the third, with a bias, reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = Conv(3, 8, 3), Conv(8, 16, 3), nn.Conv2d(16, 4, 1)
        scramble(self)
        with torch.no_grad():
            self.two.conv.weight[8:] = self.two.conv.weight[:8]
            for values in (self.two.bn.weight, self.two.bn.bias, self.two.bn.running_mean, self.two.bn.running_var):
                assert isinstance(values, Tensor)
                values[8:] = values[:8]

    def forward(self, x: Tensor) -> Tensor:
        return self.three(self.two(self.one(x)))  # type: ignore[no-any-return]


def test_what_a_twin_gave_is_taken_over_by_the_one_that_stays() -> None:
    dense = Twins().eval()
    images = torch.rand(8, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    coupling = find_coupling(dense, (2, 3, 24, 24))
    keep = np.ones(coupling.groups, np.bool_)
    keep[coupling.layers["two.conv"].outputs[8:]] = False
    small = cut(dense, coupling, keep)
    with torch.no_grad():
        wanted, before = dense(images), small(images)
        found = reconstruct(dense, small, coupling, keep, images)
        after = small(images)
        error = (after - wanted).square().mean() / (before - wanted).square().mean()
        assert error < 1e-3
    assert found["three"].after < 0.01 * found["three"].before
    assert found["one.conv"].before < 1e-9  # reads the image, as before
    assert found["one.conv"].after < 1e-9


def test_a_cut_detector_comes_nearer_and_keeps_its_shape() -> None:
    dense = tiny_detector()
    scramble(dense)
    dense.eval()
    images = torch.rand(16, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    coupling = find_coupling(dense)
    keep = select_channels(dense, coupling, PruneRequest(percent=30, round_to=1, imgsz=64)).keep
    plain, fitted = cut(dense, coupling, keep), cut(dense, coupling, keep)
    weights = {name: value.clone() for name, value in dense.state_dict().items()}
    found = reconstruct(dense, fitted.train(), coupling, keep, images)
    assert fitted.training
    assert not fitted.model[0]._forward_pre_hooks
    assert all(torch.equal(value, dense.state_dict()[name]) for name, value in weights.items())
    assert [v.shape for v in fitted.state_dict().values()] == [v.shape for v in plain.state_dict().values()]
    assert all(misfit.after <= misfit.before for misfit in found.values())
    new = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        for wanted, cut_to, fit_to in zip(dense(new), plain.eval()(new), fitted.eval()(new), strict=True):
            assert (fit_to - wanted).square().mean() < 0.5 * (cut_to - wanted).square().mean()


def test_the_same_images_give_the_same_weights() -> None:
    dense = tiny_detector()
    scramble(dense)
    coupling = find_coupling(dense)
    keep = select_channels(dense, coupling, PruneRequest(percent=30, round_to=1, imgsz=64)).keep
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    first, second = cut(dense, coupling, keep), cut(dense, coupling, keep)
    reconstruct(dense, first, coupling, keep, images)
    reconstruct(dense, second, coupling, keep, images)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_any_number_of_threads_fits_the_same_weights() -> None:
    dense = tiny_detector()
    scramble(dense)
    images = torch.rand(16, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    coupling = find_coupling(dense)
    keep = select_channels(dense, coupling, PruneRequest(percent=30, round_to=1, imgsz=64)).keep
    fitted = []
    for threads in (1, 2, 4):
        fitted.append(cut(dense, coupling, keep))
        with torch_threads(threads):
            reconstruct(dense, fitted[-1], coupling, keep, images)
            assert torch.get_num_threads() == threads
    assert weights_of(fitted[0]) == weights_of(fitted[1]) == weights_of(fitted[2])


def weights_of(model: nn.Module) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())
