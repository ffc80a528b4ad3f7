"""Layers that YOLOv3 and YOLOv4 lack give what OpenCV's Darknet reader gives, and survive pruning and the way back."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.models.foreign.darknet.others import HEAD, NET, OTHERS, conv, image, section
from tests.tiny import shake_norms
from yoloslim.errors import WeightsError
from yoloslim.models.detector import Detector
from yoloslim.models.foreign.darknet.cfg import parse_cfg
from yoloslim.models.foreign.darknet.spec import spec_from_cfg
from yoloslim.models.foreign.darknet.weights import save_weights
from yoloslim.models.foreign.darknet.writer import export_darknet
from yoloslim.models.foreign.load import import_model
from yoloslim.prune_request import PruneRequest
from yoloslim.pruning.certified_cut import prune

STORED = Path(__file__).with_name("opencv.npz")


def drawn(cfg: str) -> Detector:
    torch.manual_seed(0)
    model = Detector(spec_from_cfg(parse_cfg(cfg), ("cat", "dog"), "mine"))
    shake_norms(model)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return model.eval()


def outputs(model: nn.Module) -> list[torch.Tensor]:
    with torch.no_grad():
        return model(torch.from_numpy(image()))


@pytest.mark.parametrize("name", OTHERS)
def test_outputs_are_those_of_opencv(name: str, tmp_path: Path) -> None:
    with np.load(STORED) as stored:
        weights, wanted = stored[f"{name}_weights"], stored[f"{name}_output"]
    (tmp_path / f"{name}.cfg").write_text(OTHERS[name])
    (tmp_path / f"{name}.weights").write_bytes(weights.tobytes())
    (found,) = outputs(import_model(tmp_path / f"{name}.weights"))
    assert found.std() > 0.01
    flat = found.permute(0, 2, 3, 1, 4).reshape(wanted.shape)  # anchor by anchor, as the convolution has them
    np.testing.assert_allclose(flat.numpy(), wanted, atol=2e-5)


@pytest.mark.parametrize("name", OTHERS)
def test_weights_can_be_drawn_again(name: str, tmp_path: Path) -> None:
    folder = Path(os.environ.get("DARKNET_WEIGHTS", tmp_path))
    save_weights(drawn(OTHERS[name]), folder / f"{name}.weights")
    with np.load(STORED) as stored:
        assert stored[f"{name}_weights"].size == (folder / f"{name}.weights").stat().st_size


@pytest.mark.parametrize("name", [*OTHERS, "reorg3d"])
def test_the_way_to_darknet_and_back_changes_nothing(name: str, tmp_path: Path) -> None:
    model = drawn(OTHERS.get(name, OTHERS["reorg"].replace("[reorg]", "[reorg3d]")))
    export_darknet(model, tmp_path / "mine.cfg")
    back = import_model(tmp_path / "mine.weights")
    assert back.spec.classes == ("cat", "dog")
    for found, wanted in zip(outputs(back), outputs(model), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("name", [*OTHERS, "reorg3d"])
def test_they_are_pruned_with_a_certificate(name: str) -> None:
    model = drawn(OTHERS.get(name, OTHERS["reorg"].replace("[reorg]", "[reorg3d]")))
    pruned = prune(model, PruneRequest(percent=40, scope="coupled", imgsz=64, round_to=1))
    assert pruned.report["after"]["params_m"] < pruned.report["before"]["params_m"]
    assert max(pruned.certificate.cut) < 1e-4


def test_space_to_depth_keeps_every_value() -> None:
    reorg = Detector(spec_from_cfg(parse_cfg(OTHERS["reorg"].replace("[reorg]", "[reorg3d]")), None, "x")).model[2]
    x = torch.arange(32.0).view(1, 2, 4, 4)
    y = reorg(x)
    assert y.shape == (1, 8, 2, 2)
    assert y[0, :, 0, 0].tolist() == [0, 16, 1, 17, 4, 20, 5, 21]


def test_names_are_found_where_darknet_keeps_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    cfg = tmp_path / "cfg" / "mine.cfg"
    cfg.parent.mkdir()
    (tmp_path / "data").mkdir()
    cfg.write_text(OTHERS["reorg"])
    save_weights(drawn(OTHERS["reorg"]), cfg.with_suffix(".weights"))

    def classes() -> tuple[str, ...]:
        return import_model(cfg.with_suffix(".weights")).spec.classes

    assert classes() == ("class0", "class1")
    (tmp_path / "data" / "pets.names").write_text("cat\ndog\n")
    (tmp_path / "data" / "coco.names").write_text("a\nb\nc\n")
    assert classes() == ("cat", "dog")
    assert f"names of its classes are taken from {tmp_path / 'data' / 'pets.names'}" in caplog.text
    (tmp_path / "data" / "birds.names").write_text("hen\nduck\n")
    assert classes() == ("class0", "class1")
    assert "differ, so none of them names its classes" in caplog.text
    (cfg.parent / "mine.data").write_text("classes = 2\ntrain = x.txt\nnames = data/birds.names\n")
    assert classes() == ("hen", "duck")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (conv(6, 3, 2) + section("reorg", stride=2), r"\[reorg\]: needs a multiple of 4 channels, not 6"),
        (conv(8, 3, 2) + section("reorg3d", stride=4), r"\[reorg3d\]: only regroups by 2"),
        (conv(8) + conv(8, 3, 2) + section("sam", from_=-2), r"\[sam\]: brings layers of different sizes together"),
        (conv(8) + conv(4) + section("sam", from_=-2), r"\[sam\]: multiplies 4 and 8 channels"),
        (conv(9, groups=2), r"\[convolutional\]: 2 groups do not divide 3 channels into 9"),
        (conv(8) + section("avgpool") + section("upsample", stride=2), r"\[upsample\]: only enlarges"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(body: str, message: str) -> None:
    with pytest.raises(WeightsError, match=r"line \d+, " + message):
        spec_from_cfg(parse_cfg(NET + body + HEAD), None, "mine")
