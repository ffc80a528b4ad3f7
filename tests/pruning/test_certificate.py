import numpy as np
import pytest
import torch
from tests.pruning.networks import NETWORKS, randomise

from yoloslim.errors import PruneError
from yoloslim.pruning import certificate
from yoloslim.pruning.certificate import certify
from yoloslim.pruning.coupling import find_coupling
from yoloslim.pruning.surgery import cut

MODEL = randomise(NETWORKS["FocusSpp"]())
COUPLING = find_coupling(MODEL, (2, 3, 16, 16))
KEEP = COUPLING.protected | (np.arange(COUPLING.groups) % 3 > 0)


def test_a_right_cut_passes_on_random_and_real_images() -> None:
    result = certify(MODEL.float(), COUPLING, KEEP, torch.rand(3, 3, 32, 32))
    assert result.images == (2, 3)
    assert max(result.cut) < 1e-12
    assert max(result.folded) < 1e-12
    assert max(result.border) > 0
    assert result.as_dict()["max_cut"] == max(result.cut)
    assert next(MODEL.parameters()).dtype == torch.float32


def test_a_wrong_cut_fails_and_names_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: torch.nn.Module, *args: object, **kwargs: bool) -> torch.nn.Module:
        small = cut(model, *args, **kwargs)  # type: ignore[arg-type]
        small.head.bias.data += 2e-4  # type: ignore[union-attr, operator]
        return small

    monkeypatch.setattr(certificate, "cut", wrong)
    with pytest.raises(PruneError, match=r"head 0: the cut model differs from the masked one by 0.0002"):
        certify(MODEL, COUPLING, KEEP)
    assert certify(MODEL, COUPLING, KEEP, tolerance=1e-3).tolerance == 1e-3


def test_inexact_folding_is_reported_and_does_not_fail() -> None:
    model = randomise(NETWORKS["Shared"]())
    coupling = find_coupling(model, (2, 3, 16, 16))
    keep = coupling.protected | (np.arange(coupling.groups) % 3 > 0)
    result = certify(model, coupling, keep)
    assert result.inexact == ["block.conv", "tower.conv"]
    assert max(result.folded) > 1e-3
    assert max(result.cut) < 1e-12
