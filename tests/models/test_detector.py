import copy
import math
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.tiny import shake_norms, tiny_detector, tiny_spec
from yoloslim.errors import ModelError
from yoloslim.models.detector import (
    Detector,
    build_detector,
    count_macs,
    count_params,
    fuse,
    remove_unit,
    resize_to,
)
from yoloslim.models.spec import LayerSpec, ModelSpec
from yoloslim.models.zoo import build_spec


def test_flops_are_those_of_the_public_model() -> None:
    with torch.device("meta"):
        model = build_detector("yolov5n", tuple(map(str, range(80))))
    assert 2e-9 * count_macs(model, 640) == pytest.approx(4.5, abs=0.05)


def test_module_paths_are_those_of_public_checkpoints() -> None:
    state = build_detector("yolov5n", tuple(map(str, range(80))), 64).state_dict()
    expected = {
        "model.0.conv.weight": (16, 3, 6, 6),
        "model.0.bn.running_var": (16,),
        "model.2.cv1.conv.weight": (16, 32, 1, 1),
        "model.2.m.0.cv1.bn.weight": (16,),
        "model.6.m.2.cv2.conv.weight": (64, 64, 3, 3),
        "model.9.cv2.conv.weight": (256, 512, 1, 1),
        "model.10.conv.weight": (128, 256, 1, 1),
        "model.23.cv3.bn.bias": (256,),
        "model.24.m.0.weight": (255, 64, 1, 1),
        "model.24.m.2.bias": (255,),
    }
    assert {name: tuple(state[name].shape) for name in expected} == expected
    assert {name.split(".")[1] for name in state} == set(map(str, range(25))) - {"11", "12", "15", "16", "19", "22"}


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 64), (32, 32)])
def test_heads_have_one_logit_vector_a_cell_and_anchor(height: int, width: int) -> None:
    model = build_detector("yolov5n", ("a", "b"), 64).eval()
    with torch.no_grad():
        heads = model(torch.rand(2, 3, height, width))
    assert [tuple(h.shape) for h in heads] == [(2, 3, height // s, width // s, 7) for s in (8, 16, 32)]


def test_head_puts_outputs_of_an_anchor_last() -> None:
    model = tiny_detector().eval()
    with torch.no_grad():
        for conv in model.model[-1].m:
            conv.weight.zero_()
            conv.bias.copy_(torch.arange(14.0))
        for head in model(torch.rand(1, 3, 64, 64)):
            assert torch.equal(head[0, 1, 0, 0], torch.arange(7.0, 14.0))


def test_fresh_head_expects_eight_objects_an_image() -> None:
    model = build_detector("yolov5n", tuple("abcde"), 64)
    with torch.no_grad():
        biases = [conv.bias.view(3, -1) for conv in model.model[-1].m]
        for conv in model.model[-1].m:
            conv.weight.zero_()
    for bias, stride in zip(biases, (8, 16, 32), strict=True):
        assert bias[:, 4].mean().item() == pytest.approx(math.log(8 / (640 / stride) ** 2), abs=0.2)


def test_the_same_seed_builds_the_same_model() -> None:
    a, b = tiny_detector(seed=3).state_dict(), tiny_detector(seed=3).state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [
        (LayerSpec(block="Swin"), r"layer 1 \(Swin\): block 'Swin' is not known; known: Conv"),
        (LayerSpec(block="conv2", channels=4), "'conv2' is not known; did you mean Conv"),
        (LayerSpec(block="Conv"), r"layer 1 \(Conv\): give it channels"),
        (LayerSpec(block="Conv", channels=4, inputs=(0, 0)), "reads 2 layers, but takes one; put a Concat before it"),
        (LayerSpec(block="Add", inputs=(0,)), r"needs two layers of as many channels, not \[4\]"),
        (LayerSpec(block="Slice", groups=3), "4 channels cannot be cut into 3 equal parts"),
        (LayerSpec(block="Residual", channels=8), "gives as many channels as it reads, 4, not 8"),
        (LayerSpec(block="Detect"), "block 'Detect' is not known; known: .*and Detect as the last"),
    ],
)
def test_layers_that_cannot_be_built_are_refused(layer: LayerSpec, complaint: str) -> None:
    first, last = LayerSpec(block="Conv", channels=4), LayerSpec(block="Detect", inputs=(0, 1, 1))
    spec = ModelSpec.model_validate(tiny_spec().model_dump() | {"layers": (first, layer, last)})
    with pytest.raises(ModelError, match=complaint):
        Detector(spec)


@pytest.mark.parametrize("name", ["yolov5n", "v5Lite-g", "v5Lite-e", "v5Lite-c", "yolov4-tiny"])
def test_fused_model_equals_the_unfused_one(name: str) -> None:
    model = build_detector(name, ("a", "b"), 64).eval()
    shake_norms(model)
    before = copy.deepcopy(model.state_dict())
    x = torch.rand(2, 3, 64, 64)
    fused = fuse(model)
    with torch.no_grad():
        for expected, actual in zip(model(x), fused(x), strict=True):
            torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["yolov5n", "v5Lite-g"])
def test_fusing_twice_changes_nothing(name: str) -> None:
    model = build_detector(name, ("a", "b"), 64)
    shake_norms(model)
    once = fuse(model)
    twice = fuse(once)
    assert all(torch.equal(value, twice.state_dict()[name]) for name, value in once.state_dict().items())


def test_fusing_makes_slices_and_branches_one_convolution() -> None:
    fused = fuse(build_detector("v5Lite-g", ("a", "b"), 64))
    assert fused.model[0].conv.conv.weight.shape == (32, 3, 6, 6)
    assert fused.model[1].rbr_1x1 is None


def test_widths_table_resizes_convolutions_and_norms() -> None:
    widths = {"model.0.conv": (3, 3), "model.0.bn": (3, 3), "model.1.conv": (3, 8)}
    model = Detector(tiny_spec().model_copy(update={"widths": widths})).eval()
    assert model.model[0].conv.weight.shape == (3, 3, 3, 3)
    assert model.model[0].bn.running_mean.shape == (3,)
    assert model.model[0].bn.eps == 1e-3
    assert model.model[1].conv.weight.shape == (8, 3, 3, 3)
    assert model.model[1].conv.stride == (2, 2)
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 64))[0].shape == (1, 2, 8, 8, 7)


def test_depthwise_convolution_stays_depthwise() -> None:
    net = nn.ModuleDict({"a": nn.Conv2d(8, 8, 3, padding=1, groups=8), "b": nn.Conv2d(8, 8, 3, groups=2)})
    resize_to(net, {"a": (5, 5), "b": (4, 6)})
    assert (net["a"].groups, net["a"].weight.shape) == (5, (5, 1, 3, 3))
    assert (net["b"].groups, net["b"].weight.shape) == (2, (6, 2, 3, 3))


@pytest.mark.parametrize(
    ("path", "complaint"),
    [("model.77.conv", "names 'model.77.conv', which the model has not"), ("model.0.act", "a SiLU, not Conv2d")],
)
def test_widths_table_that_does_not_fit_names_the_path(path: str, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        Detector(tiny_spec().model_copy(update={"widths": {path: (3, 3)}}))


def test_removed_unit_lets_its_input_pass() -> None:
    spec = build_spec("yolov5n", ("a",), 64)
    model = Detector(spec.model_copy(update={"removed": ("model.6.m.1",)})).eval()
    x = torch.rand(1, 64, 4, 4)
    assert torch.equal(model.model[6].m[1](x), x)
    whole = Detector(spec)
    gone = sum(p.numel() for p in whole.model[6].m[1].parameters())
    assert count_params(model) == count_params(whole) - gone


@pytest.mark.parametrize("path", ["model.6.m.9", "model.99.m.0"])
def test_unit_that_is_not_there_cannot_be_removed(path: str) -> None:
    with pytest.raises(ModelError, match=f"cannot remove unit '{path}'"):
        remove_unit(build_detector("yolov5n", ("a",), 64), path)


def test_macs_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),  # 4 x 4 x 4 outputs of 27 products
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),  # 4 x 4 x 4 outputs of 9
        nn.Conv2d(4, 6, 1),  # 6 x 4 x 4 outputs of 4
    )
    assert count_macs(net, 8) == 64 * 27 + 64 * 9 + 96 * 4


def test_counting_leaves_the_model_as_it_was() -> None:
    model = tiny_detector().train()
    count_macs(model, 64)
    assert model.training
    assert next(model.parameters()).device.type == "cpu"
    assert not any(module._forward_hooks for module in model.modules())
    assert model(torch.rand(1, 3, 64, 64))[0].requires_grad


def test_what_no_layer_reads_any_more_is_not_held() -> None:
    model, alive, given = tiny_detector().eval(), [], []
    head = len(model.model) - 1

    def hook(number: int) -> Callable[..., None]:
        def note(_module: nn.Module, _args: object, output: Tensor) -> None:
            alive.append({n for n, each in enumerate(given) if each() is not None})
            if number < head:
                given.append(weakref.ref(output))

        return note

    for number, module in enumerate(model.model):
        module.register_forward_hook(hook(number))
    with torch.no_grad():
        model(torch.rand(1, 3, 64, 64))
    last_read = {
        number + i if i < 0 else i: number for number, layer in enumerate(model.spec.layers) for i in layer.inputs
    }
    assert alive == [{i for i in range(number) if last_read[i] >= number} for number in range(head + 1)]
