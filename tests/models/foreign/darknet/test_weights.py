"""Floats of `.weights` files: counts of the public files, round trips, and what is missing."""

import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from tests.models.foreign.darknet.nets import CFG, shaken
from yoloslim.errors import ModelError, WeightsError
from yoloslim.models.detector import Detector, build_detector
from yoloslim.models.foreign.darknet.weights import count_floats, filters, save_weights
from yoloslim.models.foreign.darknet.writer import export_darknet
from yoloslim.models.foreign.load import import_model
from yoloslim.models.zoo import build_spec
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.certified_cut import prune

PUBLIC = {"yolov3": 62_001_757, "yolov3-spp": 63_052_381, "yolov3-tiny": 8_858_734}
PUBLIC |= {"yolov4": 64_429_405, "yolov4-tiny": 6_062_814, "yolov4-tiny-3l": 6_334_045}


def on_meta(name: str) -> Detector:
    with torch.device("meta"):
        return Detector(build_spec(name, tuple(f"class{i}" for i in range(80))))


@pytest.mark.parametrize("name", PUBLIC)
def test_the_number_of_floats_is_that_of_the_public_file(name: str) -> None:
    assert count_floats(on_meta(name)) == PUBLIC[name]


@pytest.mark.parametrize(
    ("name", "pretrained_bytes", "convolutions"),
    [("yolov3", 162_482_580, 52), ("yolov4", 170_038_676, 92), ("yolov4-tiny", 19_789_716, 17)],
)
def test_public_pretrained_files_end_behind_a_convolution(name: str, pretrained_bytes: int, convolutions: int) -> None:
    """Sizes of darknet53.conv.74, yolov4.conv.137 and yolov4-tiny.conv.29; 20 bytes are the header."""
    sizes = [conv.weight.numel() + 4 * conv.out_channels for _, conv, _ in filters(on_meta(name))]
    assert sum(sizes[:convolutions]) == (pretrained_bytes - 20) // 4


def assert_equal(a: Detector, b: Detector) -> None:
    """Bit for bit, in the order of the layers, and in what they give."""
    states = list(a.state_dict().values()), list(b.state_dict().values())
    assert len(states[0]) == len(states[1])
    assert all(torch.equal(x, y) for x, y in zip(*states, strict=True))
    x = torch.rand(1, 3, a.spec.imgsz, a.spec.imgsz)
    with torch.no_grad():
        assert all(torch.equal(x, y) for x, y in zip(a(x), b(x), strict=True))


@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov4-tiny", "yolov4-tiny-3l"])
def test_model_to_weights_to_model_is_the_same_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = shaken(name)
    files = export_darknet(model, tmp_path / "m.cfg")
    assert [file.name for file in files] == ["m.cfg", "m.weights", "m.names"]
    again = import_model(tmp_path / "m.weights")
    assert again.spec == model.spec
    assert again.state_dict().keys() == model.state_dict().keys()
    assert_equal(again, model)
    save_weights(again, tmp_path / "again.weights")
    assert (tmp_path / "again.weights").read_bytes() == (tmp_path / "m.weights").read_bytes()


@pytest.mark.parametrize("scope", ["coupled", "free"])
def test_a_pruned_model_comes_back_bit_for_bit(scope: str, tmp_path: Path) -> None:
    model = prune(shaken("yolov4-tiny"), PruneRequest(percent=50, scope=scope, imgsz=64, round_to=1)).model.eval()  # type: ignore[arg-type]
    export_darknet(model, tmp_path / "m.cfg")
    again = import_model(tmp_path / "m.weights")
    assert_equal(again, model)
    assert (again.spec.name, again.spec.classes) == ("yolov4-tiny", ("cat", "dog"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov3-spp", "yolov4"])
def test_channels_and_residual_units_pruned_come_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = prune(
        shaken(name), PruneRequest(percent=80, scope="coupled", residual_units=17, imgsz=64, round_to=1)
    ).model.eval()
    assert len(model.spec.removed) == 17
    export_darknet(model, tmp_path / "m.cfg")
    assert_equal(import_model(tmp_path / "m.weights"), model)


def test_a_bias_before_a_batchnorm_goes_into_its_mean(tmp_path: Path) -> None:
    model = shaken("yolov4-tiny")
    conv = model.get_submodule("model.2.conv")
    assert isinstance(conv, nn.Conv2d)
    conv.bias = nn.Parameter(torch.randn(conv.out_channels))
    export_darknet(model, tmp_path / "m.cfg")
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for found, wanted in zip(import_model(tmp_path / "m.weights")(x), model(x), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("darknet") / "m.weights"
    export_darknet(shaken("yolov4-tiny"), path.with_suffix(".cfg"))
    return path


@pytest.mark.parametrize("version", [(0, 1), (0, 2), (1, 0)])
def test_both_lengths_of_the_header_are_read(stored: Path, tmp_path: Path, version: tuple[int, int]) -> None:
    seen = struct.pack("<i" if version == (0, 1) else "<q", 32013312)
    (tmp_path / "m.weights").write_bytes(struct.pack("<iii", *version, 0) + seen + stored.read_bytes()[20:])
    (tmp_path / "m.cfg").write_text(stored.with_suffix(".cfg").read_text())
    assert_equal(import_model(tmp_path / "m.weights"), import_model(stored))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data: data[:-400],
            r"m\.weights: 100 floats are missing: it holds 5,8\d\d,\d\d\d of the 5,8\d\d,\d\d\d",
        ),
        (lambda data: data + bytes(400), r"100 more than the .* of another number of classes\?"),
        (lambda data: data[:-2], r"it was cut short: 2 bytes stand behind the last whole float"),
        (lambda data: data[:10], r"too few for the header"),
        (lambda data: struct.pack("<i", 77_000) + data[4:], r"does not begin like a \.weights file: version 77000\.2"),
        (lambda data: data[:-4] + b"\0\0\xc0\x7f", r"tensor 'model\.33\.m\.0' holds 1 values"),
    ],
)
def test_damage_is_told_in_numbers(stored: Path, tmp_path: Path, change: object, message: str) -> None:
    (tmp_path / "m.weights").write_bytes(change(stored.read_bytes()))  # type: ignore[operator]
    (tmp_path / "m.cfg").write_text(stored.with_suffix(".cfg").read_text())
    with pytest.raises(WeightsError, match=message):
        import_model(tmp_path / "m.weights")


def test_a_pretrained_file_fills_the_first_layers_and_says_so(
    stored: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = shaken("yolov4-tiny")
    sizes = [conv.weight.numel() + 4 * conv.out_channels for _, conv, _ in filters(model)]
    path = tmp_path / "yolov4-tiny.conv.29"
    path.write_bytes(stored.read_bytes()[: 20 + 4 * sum(sizes[:15])])
    with caplog.at_level(logging.INFO):
        found = import_model(path, "yolov4-tiny", ("cat", "dog"))
    assert "loaded the first 15 of 21 convolutions, up to model.26; the rest is fresh" in caplog.text
    pairs = list(zip(filters(found), filters(model), strict=True))
    assert all(torch.equal(a[1].weight, b[1].weight) for a, b in pairs[:15])
    assert not any(torch.equal(a[1].weight, b[1].weight) for a, b in pairs[15:])
    cut = tmp_path / "cut.weights"
    cut.write_bytes(path.read_bytes())
    with pytest.raises(WeightsError, match="floats are missing"):
        import_model(cut, "yolov4-tiny", ("cat", "dog"))
    assert import_model(cut, "yolov4-tiny", ("cat", "dog"), partial=True).spec.nc == 2
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(WeightsError, match=r"it ends inside model\.26: 10 floats of that are missing"):
        import_model(path, "yolov4-tiny", ("cat", "dog"))


def test_public_weights_without_a_cfg_have_80_classes(tmp_path: Path) -> None:
    model = build_detector("yolov4-tiny", tuple(f"class{i}" for i in range(80)))
    save_weights(model, tmp_path / "m.weights")
    assert import_model(tmp_path / "m.weights", "yolov4-tiny", ("cat", "dog")).spec.nc == 80
    with pytest.raises(WeightsError, match=r"put m\.cfg beside them, or name a model"):
        import_model(tmp_path / "m.weights")


def test_a_cfg_of_another_model_than_named_is_refused(stored: Path) -> None:
    with pytest.raises(WeightsError, match=r"describes yolov4-tiny, not yolov4"):
        import_model(stored, "yolov4")


def test_a_network_that_darknet_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="yolov5n has layers that Darknet does not know: C3, SPPF"):
        export_darknet(build_detector("yolov5n", ("a",)), tmp_path / "m.cfg")
    assert not list(tmp_path.iterdir())


def test_a_cfg_cannot_ask_for_all_memory(tmp_path: Path) -> None:
    (tmp_path / "m.conv.1").write_bytes(struct.pack("<iiiq", 0, 2, 5, 0))
    huge = CFG.replace("filters=8", "filters=65000").replace("filters=6\n", "filters=65000\n")
    (tmp_path / "m.cfg").write_text(huge)
    with pytest.raises(WeightsError, match="are refused"):
        import_model(tmp_path / "m.conv.1", cfg=tmp_path / "m.cfg")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_give_an_error_with_their_name_or_a_sound_model(tmp_path: Path, data: st.DataObject) -> None:
    cfg, weights = tmp_path / "m.cfg", tmp_path / "m.weights"
    text = bytearray(CFG.encode())
    for _ in range(data.draw(st.integers(0, 3), "flips")):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 127))
    cfg.write_bytes(text)
    header = data.draw(st.one_of(st.just(struct.pack("<iiiq", 0, 2, 5, 0)), st.binary(max_size=24)))
    count = data.draw(st.sampled_from([0, 1, 100, 3072, 3073]))
    weights.write_bytes(header + np.zeros(count, "<f4").tobytes())
    model, refusal = None, ""
    try:
        model = import_model(weights, partial=data.draw(st.booleans()))
    except ModelError as error:
        refusal = str(error)
    if model is None:
        assert str(tmp_path / "m.") in refusal
        return
    side = max(model.spec.strides)
    with torch.no_grad():
        heads = model(torch.rand(1, 3, side, side))
    assert [head.shape[2] for head in heads] == [side // stride for stride in model.spec.strides]
    assert all(bool(head.isfinite().all()) for head in heads)
