import numpy as np
import pytest
import torch
from tests.pruning.networks import NETWORKS, Cbl
from torch import Tensor, nn

from yoloslim.errors import TraceError
from yoloslim.models.detector import build_detector
from yoloslim.pruning.coupling import Coupling, find_coupling
from yoloslim.pruning.selection import penalised_bns

EXAMPLE = (2, 3, 16, 16)


def coupling_of(name: str) -> Coupling:
    return find_coupling(NETWORKS[name](), EXAMPLE)


def test_residual_sums_tie_the_stem_to_every_branch_end_and_nothing_else() -> None:
    coupling = coupling_of("Residual")
    outputs = {path: layer.outputs.tolist() for path, layer in coupling.layers.items()}
    assert outputs["stem.conv"] == outputs["a.1.bn"] == outputs["b.1.bn"] == coupling.layers["head"].inputs.tolist()
    assert not set(outputs["a.0.conv"]) & set(outputs["stem.conv"])
    assert coupling.residual[outputs["stem.conv"]].all()
    assert not coupling.residual[outputs["a.0.conv"]].any()
    assert coupling.groups == 1 + 8 + 6 + 5 + 4  # all of the input is one


def test_inputs_and_outputs_of_the_network_are_protected() -> None:
    coupling = coupling_of("Residual")
    assert np.flatnonzero(coupling.protected).tolist() == [
        coupling.layers["stem.conv"].inputs[0],
        *coupling.layers["head"].outputs,
    ]


def test_concatenation_order_is_kept_in_sums() -> None:
    coupling = coupling_of("SumOfConcat")
    a, b, c = (coupling.layers[f"{name}.conv"].outputs.tolist() for name in "abc")
    assert c == b + a


def test_halves_of_a_chunk_go_together() -> None:
    stem = coupling_of("ChunkAndSplit").layers["stem.conv"].outputs
    assert stem[:6].tolist() == stem[6:].tolist()
    assert len(set(stem.tolist())) == 6


def test_channel_shuffle_ties_corresponding_channels_and_permutes() -> None:
    coupling = coupling_of("Shuffle")
    left, right = coupling.layers["left.1.conv"].outputs, coupling.layers["right.2.conv"].outputs
    assert left.tolist() == right.tolist()
    # dealt from (left, right), half b holds channels 3, 3, 4, 4, 5, 5 of either side; chunk ties it to half a
    assert coupling.layers["unit.0.conv"].inputs.tolist() == left[[3, 3, 4, 4, 5, 5]].tolist()


def test_depthwise_convolutions_pass_labels_on() -> None:
    coupling = coupling_of("Grouped")
    assert coupling.layers["wide.conv"].kind == "depthwise"
    assert coupling.layers["wide.conv"].outputs.tolist() == np.repeat(coupling.layers["mixed.bn"].outputs, 2).tolist()


def test_grouped_convolutions_lose_the_same_number_in_every_group() -> None:
    layer = coupling_of("Grouped").layers["grouped.conv"]
    assert layer.inputs.reshape(4, 3).tolist() == [layer.inputs[:3].tolist()] * 4
    assert layer.outputs.reshape(4, 2).tolist() == [layer.outputs[:2].tolist()] * 4


def test_calls_of_a_shared_layer_are_tied() -> None:
    coupling = coupling_of("Shared")
    block = coupling.layers["block.conv"]
    assert block.inputs.tolist() == block.outputs.tolist() == coupling.layers["q.conv"].outputs.tolist()
    assert "block.conv" not in coupling.folds_into


def test_a_concatenation_read_by_one_batchnorm() -> None:
    coupling = coupling_of("LateNorm")
    a, b = coupling.layers["a"].outputs.tolist(), coupling.layers["b"].outputs.tolist()
    assert coupling.layers["bn"].outputs.tolist() == a + b
    assert coupling.layers["hidden"].inputs.tolist() == np.repeat(a + b, 4).tolist()
    assert dict(coupling.folds_into) == {"stem.conv": "stem.bn"}


def test_hard_coded_channel_counts_are_protected() -> None:
    coupling = coupling_of("HardCoded")
    assert coupling.parameters["scale"].outputs.tolist() == coupling.layers["scaled.conv"].outputs.tolist()
    assert coupling.parameters["scale"].axis == 1
    for name, fixed in (("stem", True), ("fixed", True), ("scaled", False), ("free", False)):
        assert coupling.protected[coupling.layers[f"{name}.conv"].outputs].all() == fixed


class _Odd(nn.Module):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.stem = what, Cbl(3, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        match self.what:
            case "function":
                return torch.linalg.inv(x)
            case "method":
                return x.erfinv()
            case "space":
                return torch.fft.fft(x)
            case _:
                return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("function", r"node 'linalg_inv' \(call_function linalg_inv\) in module '<root>'.*not understood"),
        ("method", r"node 'erfinv' \(call_method erfinv\) in module '<root>'.*not understood"),
        ("space", r"node 'fft_fft'.*not understood"),
        ("control", r"_Odd cannot be traced: in module '<root>' its forward asks for values \(bool\)"),
    ],
)
def test_operations_not_understood_are_named(what: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        find_coupling(_Odd(what), EXAMPLE)


class _Unheard(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.i1(x)


class _Wrapper(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def test_unknown_modules_are_named_by_path() -> None:
    with pytest.raises(TraceError, match=r"node 'special_i1' .* in module 'inner.1'.*'special_i1'"):
        find_coupling(_Wrapper(nn.Sequential(nn.Conv2d(3, 8, 3), _Unheard())), EXAMPLE)


def test_a_network_of_another_image_depth_is_an_error_that_names_the_layer() -> None:
    with pytest.raises(TraceError, match=r"_Wrapper .* fails on inputs of shape \(2, 3, 16, 16\) in module 'inner'"):
        find_coupling(_Wrapper(nn.Conv2d(4, 8, 3)), EXAMPLE)


def test_yolov5_units_are_its_backbone_bottlenecks() -> None:
    coupling = find_coupling(build_detector("yolov5n", ("a", "b")))
    assert [unit.container for unit in coupling.units] == [
        "model.2.m.0",
        *(f"model.4.m.{i}" for i in range(2)),
        *(f"model.6.m.{i}" for i in range(3)),
        "model.8.m.0",
    ]
    assert [unit.gate for unit in coupling.units] == [f"{unit.container}.cv2.bn" for unit in coupling.units]


def test_penalised_batchnorms_of_each_scope() -> None:
    model = build_detector("yolov5n", ("a", "b"))
    everything = [path for path, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    shortcuts = {"model.2": 1, "model.4": 2, "model.6": 3, "model.8": 1}
    ends = {f"{c}.cv1.bn" for c in shortcuts} | {f"{c}.m.{i}.cv2.bn" for c, n in shortcuts.items() for i in range(n)}
    inner = {f"{c}.m.{i}.cv1.bn" for c, n in shortcuts.items() for i in range(n)}
    assert set(penalised_bns(model, "source")) == set(everything) - ends - inner
    assert set(penalised_bns(model, "free")) == set(everything) - ends
    assert set(penalised_bns(model, "coupled")) == set(penalised_bns(model, "slim")) == set(everything)
