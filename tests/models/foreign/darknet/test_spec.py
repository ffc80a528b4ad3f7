"""A cfg becomes the right network, or an error with the line."""

import pytest
import torch

from tests.models.foreign.darknet.nets import CFG
from tests.models.foreign.darknet.public import PUBLIC
from yoloslim.errors import WeightsError
from yoloslim.models.detector import Detector
from yoloslim.models.foreign.darknet.cfg import parse_cfg
from yoloslim.models.foreign.darknet.spec import spec_from_cfg
from yoloslim.models.foreign.darknet.writer import cfg_text
from yoloslim.models.spec import LayerSpec, ModelSpec
from yoloslim.models.zoo import build_spec


def spec_of(text: str) -> ModelSpec:
    return spec_from_cfg(parse_cfg(text), ("cat", "dog"), "mine")


def test_every_kind_of_layer_is_understood() -> None:
    spec = spec_of(CFG)
    conv = {"block": "Conv", "kernel": 3, "stride": 2, "activation": "leaky"}
    assert spec.layers == (
        LayerSpec(**{**conv, "activation": "mish"}, channels=8, inputs=(-1,)),
        LayerSpec(block="Residual", channels=8, hidden=4, activation="leaky", repeats=1),
        LayerSpec(block="MaxPool", kernel=2, stride=2),
        LayerSpec(**conv, channels=8),
        LayerSpec(block="Slice", groups=2),
        LayerSpec(**conv, channels=6),
        LayerSpec(block="MaxPool", kernel=3, stride=1),
        LayerSpec(block="Concat", inputs=(-1, 5)),
        LayerSpec(block="Upsample"),
        LayerSpec(block="Concat", inputs=(-1, 3)),
        LayerSpec(block="Detect", inputs=(9, 7)),
    )
    assert (spec.name, spec.imgsz, spec.strides) == ("mine", 64, (8, 16))
    assert spec.head.anchors == (((4, 5), (6, 7), (8, 9)), ((10, 14), (23, 27), (37, 58)))
    assert (spec.head.decoding.kind, spec.head.decoding.scale_x_y) == ("darknet", (1.0, 1.05))
    heads = Detector(spec).eval()(torch.zeros(1, 3, 64, 64))
    assert [tuple(head.shape) for head in heads] == [(1, 3, 8, 8, 7), (1, 3, 4, 4, 7)]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_cfgs_are_our_architectures(name: str) -> None:
    found = spec_from_cfg(parse_cfg(PUBLIC[name]), None, "mine")
    known = build_spec(name, found.classes)
    assert (found.name, found.layers, found.head.anchors, found.strides) == (
        name,
        known.layers,
        known.head.anchors,
        known.strides,
    )
    side = 608 if name in ("yolov4", "yolov4-tiny-3l") else 416
    assert (found.imgsz, found.nc, found.bn_eps) == (side, 80, known.bn_eps)


@pytest.mark.parametrize("name", PUBLIC)
def test_our_architectures_survive_the_way_through_a_cfg(name: str) -> None:
    with torch.device("meta"):
        model = Detector(build_spec(name, ("cat", "dog"), 64))
    text = cfg_text(model)
    assert spec_of(text) == model.spec
    assert len(parse_cfg(text)) == len(parse_cfg(PUBLIC[name]))


def test_a_residual_unit_whose_middle_is_read_elsewhere_stays_apart() -> None:
    blocks = [layer.block for layer in spec_of(CFG.replace("layers = -1, 5", "layers = -1, 5").replace(
        "[maxpool]\nsize=2", "[route]\nlayers=-1,1\n\n[maxpool]\nsize=2"
    ).replace("layers = -1, 5", "layers = -1, 6")).layers]  # fmt: skip
    assert blocks[:5] == ["Conv", "Conv", "Conv", "Add", "Concat"]


def test_new_coordinates_are_those_of_yolov5() -> None:
    text = CFG.replace("activation=linear\n\n[yolo]", "activation=logistic\n\n[yolo]\nnew_coords=1")
    assert spec_of(text).head.decoding.kind == "yolov5"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[maxpool]\nsize=2", "[crop]\nsize=2", r"line 37: section \[crop\] is not known; known: net, conv"),
        (
            "activation=mish",
            "activation=gelu",
            r"line 15, \[convolutional\]: activation gelu is not supported; known: l",
        ),
        ("groups=2", "groups=3", r"\[route\]: only the last of equal groups"),
        ("group_id=1", "group_id=0", r"only the last of equal groups"),
        ("from=-3", "from=-30", r"line 34, \[shortcut\]: from=-30 is not a layer before it"),
        ("from=-3", "from=30", r"from=30 is not a layer before it"),
        ("from=-3", "from=-2", r"adds 8 and 4 channels"),
        ("from=-3", "from=-3\nweights_type=per_feature", r"\[shortcut\]: weights_type=per_feature is not supported"),
        ("from=-3\nactivation=linear", "from=-3\nactivation=selu", r"\[shortcut\]: activation selu"),
        (
            "size=3\nstride=2\npad=1\nactivation=mish",
            "size=x",
            r"line 12, .*: size=x is no whole number",
        ),
        ("filters=8", "filters=99999999", r"filters 99999999, size 3"),
        ("filters=4", "filters=4\nxnor=1", r"\[convolutional\] with xnor is not supported"),
        ("filters=4", "filters=4\ngroups=3", r"3 groups do not divide 8 channels into 4"),
        ("filters=21\nactivation", "filters=255\nactivation", r"filters=255 should be 21: 3 anchors x \(5 \+ 2\)"),
        ("mask = 3,4,5", "mask = 3,4,6", r"names anchors that are not there; there are 6"),
        ("classes=2\nnum=6\nscale", "classes=3\nnum=6\nscale", r"filters=21 should be 24"),
        ("scale_x_y = 1.05", "scale_x_y = nan", r"scale_x_y=nan is not finite"),
        ("scale_x_y = 1.05", "scale_x_y = 9", r"cannot be built: .*less than or equal to 2"),
        ("width=64", "width=65", r"cannot be built"),
        ("[net]\n", "", r"line 3: 'width=64' is neither a section nor key=value"),
        ("[upsample]\nstride=2", "[upsample]\nstride=4", r"\[upsample\]: only enlarges by 2"),
        ("[route]\nlayers = -3", "[route]\nlayers = -1", r"\[route\]: reads the output of \[yolo\]"),
        ("layers = -1, 5", "layers = -1, 0", r"joins layers of different sizes"),
        ("[shortcut]", "[shortcut", r"section \[shortcut is not closed"),
    ],
)
def test_what_cannot_be_expressed_is_refused_with_its_line(old: str, new: str, message: str) -> None:
    assert old in CFG
    with pytest.raises(WeightsError, match=message):
        spec_of(CFG.replace(old, new, 1))


@pytest.mark.parametrize("text", ["", "[net]\n", "[convolutional]\nfilters=3\n", "hello", "[net]\n[yolo]\n"])
def test_what_is_no_detector_is_refused(text: str) -> None:
    with pytest.raises(WeightsError):
        spec_of(text)


def test_names_must_be_as_many_as_classes() -> None:
    with pytest.raises(WeightsError, match="it has 2 classes, but 3 names are given"):
        spec_from_cfg(parse_cfg(CFG), ("a", "b", "c"), "mine")
