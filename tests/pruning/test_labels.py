import numpy as np
import pytest
import torch
from tests.pruning.networks import NETWORKS, Cbl
from torch import Tensor, nn

from yoloslim.errors import TraceError
from yoloslim.models.detector import build_detector
from yoloslim.pruning.labels import ChannelLabels, label_channels
from yoloslim.pruning.selection import penalised_bns

EXAMPLE = (2, 3, 16, 16)


def labels_of(name: str) -> ChannelLabels:
    return label_channels(NETWORKS[name](), EXAMPLE)


def test_residual_sums_tie_the_stem_to_every_branch_end_and_nothing_else() -> None:
    labels = labels_of("Residual")
    outputs = {path: layer.outputs.tolist() for path, layer in labels.layers.items()}
    assert outputs["stem.conv"] == outputs["a.1.bn"] == outputs["b.1.bn"] == labels.layers["head"].inputs.tolist()
    assert not set(outputs["a.0.conv"]) & set(outputs["stem.conv"])
    assert labels.residual[outputs["stem.conv"]].all()
    assert not labels.residual[outputs["a.0.conv"]].any()
    assert labels.groups == 1 + 8 + 6 + 5 + 4  # all of the input is one


def test_inputs_and_outputs_of_the_network_are_protected() -> None:
    labels = labels_of("Residual")
    assert np.flatnonzero(labels.protected).tolist() == [
        labels.layers["stem.conv"].inputs[0],
        *labels.layers["head"].outputs,
    ]


def test_concatenation_order_is_kept_in_sums() -> None:
    labels = labels_of("SumOfConcat")
    a, b, c = (labels.layers[f"{name}.conv"].outputs.tolist() for name in "abc")
    assert c == b + a


def test_halves_of_a_chunk_go_together() -> None:
    stem = labels_of("ChunkAndSplit").layers["stem.conv"].outputs
    assert stem[:6].tolist() == stem[6:].tolist()
    assert len(set(stem.tolist())) == 6


def test_channel_shuffle_ties_corresponding_channels_and_permutes() -> None:
    labels = labels_of("Shuffle")
    left, right = labels.layers["left.1.conv"].outputs, labels.layers["right.2.conv"].outputs
    assert left.tolist() == right.tolist()
    # dealt from (left, right), half b holds channels 3, 3, 4, 4, 5, 5 of either side; chunk ties it to half a
    assert labels.layers["unit.0.conv"].inputs.tolist() == left[[3, 3, 4, 4, 5, 5]].tolist()


def test_depthwise_convolutions_pass_labels_on() -> None:
    labels = labels_of("Grouped")
    assert labels.layers["wide.conv"].kind == "depthwise"
    assert labels.layers["wide.conv"].outputs.tolist() == np.repeat(labels.layers["mixed.bn"].outputs, 2).tolist()


def test_grouped_convolutions_lose_the_same_number_in_every_group() -> None:
    layer = labels_of("Grouped").layers["grouped.conv"]
    assert layer.inputs.reshape(4, 3).tolist() == [layer.inputs[:3].tolist()] * 4
    assert layer.outputs.reshape(4, 2).tolist() == [layer.outputs[:2].tolist()] * 4


def test_calls_of_a_shared_layer_are_tied() -> None:
    labels = labels_of("Shared")
    block = labels.layers["block.conv"]
    assert block.inputs.tolist() == block.outputs.tolist() == labels.layers["q.conv"].outputs.tolist()
    assert "block.conv" not in labels.folds_into


def test_a_concatenation_read_by_one_batchnorm() -> None:
    labels = labels_of("LateNorm")
    a, b = labels.layers["a"].outputs.tolist(), labels.layers["b"].outputs.tolist()
    assert labels.layers["bn"].outputs.tolist() == a + b
    assert labels.layers["hidden"].inputs.tolist() == np.repeat(a + b, 4).tolist()
    assert dict(labels.folds_into) == {"stem.conv": "stem.bn"}


def test_hard_coded_channel_counts_are_protected() -> None:
    labels = labels_of("HardCoded")
    assert labels.parameters["scale"].outputs.tolist() == labels.layers["scaled.conv"].outputs.tolist()
    assert labels.parameters["scale"].axis == 1
    for name, fixed in (("stem", True), ("fixed", True), ("scaled", False), ("free", False)):
        assert labels.protected[labels.layers[f"{name}.conv"].outputs].all() == fixed


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
        label_channels(_Odd(what), EXAMPLE)


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
        label_channels(_Wrapper(nn.Sequential(nn.Conv2d(3, 8, 3), _Unheard())), EXAMPLE)


def test_a_network_of_another_image_depth_is_an_error_that_names_the_layer() -> None:
    with pytest.raises(TraceError, match=r"_Wrapper .* fails on inputs of shape \(2, 3, 16, 16\) in module 'inner'"):
        label_channels(_Wrapper(nn.Conv2d(4, 8, 3)), EXAMPLE)


def test_yolov5_units_are_its_backbone_bottlenecks() -> None:
    labels = label_channels(build_detector("yolov5n", ("a", "b")))
    assert [unit.container for unit in labels.units] == [
        "model.2.m.0",
        *(f"model.4.m.{i}" for i in range(2)),
        *(f"model.6.m.{i}" for i in range(3)),
        "model.8.m.0",
    ]
    assert [unit.gate for unit in labels.units] == [f"{unit.container}.cv2.bn" for unit in labels.units]


def test_penalised_batchnorms_of_each_scope() -> None:
    model = build_detector("yolov5n", ("a", "b"))
    everything = [path for path, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    shortcuts = {"model.2": 1, "model.4": 2, "model.6": 3, "model.8": 1}
    ends = {f"{c}.cv1.bn" for c in shortcuts} | {f"{c}.m.{i}.cv2.bn" for c, n in shortcuts.items() for i in range(n)}
    inner = {f"{c}.m.{i}.cv1.bn" for c, n in shortcuts.items() for i in range(n)}
    assert set(penalised_bns(model, "source")) == set(everything) - ends - inner
    assert set(penalised_bns(model, "free")) == set(everything) - ends
    assert set(penalised_bns(model, "coupled")) == set(penalised_bns(model, "slim")) == set(everything)
