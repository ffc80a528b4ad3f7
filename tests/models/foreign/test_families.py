"""Networks that are not imported are named for what they are."""

from pathlib import Path

import pytest
import torch

from yoloslim.errors import WeightsError
from yoloslim.models.detector import Detector
from yoloslim.models.foreign.families import FAMILIES, family_of
from yoloslim.models.foreign.load import import_model
from yoloslim.models.zoo import build_spec, model_names

TENSORS = {
    "backbone.backbone.stem.conv.conv.weight": "YOLOX",
    "module_list.0.Conv2d.weight": "port of Darknet",
    "bbox_head.multi_level_conv_cls.0.weight": "MMDetection",
    "roi_heads.box_predictor.cls_score.weight": "torchvision",
    "backbone.ERBlock_2.0.rbr_dense.conv.weight": "YOLOv6",
    "model.105.ia.0.implicit": "YOLOv7",
    "model.118.m_kpt.0.0.conv.weight": "YOLOv7 for poses",
    "model.0.stem_1.conv.weight": "YOLOv5-face",
    "model.2.cv4.conv.weight": "older than v4.0",
}


@pytest.mark.parametrize(("tensor", "name"), TENSORS.items())
def test_a_state_dict_is_named_by_its_tensors_and_told_the_way(tensor: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.pt"
    torch.save({tensor: torch.ones(1), "model.3.conv.weight": torch.ones(1)}, path)
    with pytest.raises(WeightsError, match=f"theirs.pt: it is a.*{name}.*which cannot be imported; .{{20}}"):
        import_model(path)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("IDetect", "a YOLOv7"), ("DualDDetect", "a YOLOv9"), ("v10Detect", "a YOLOv10"), ("RTDETRDecoder", "an RT-DETR")],
)
def test_a_pickled_model_is_named_by_its_classes(kind: str, name: str) -> None:
    family = family_of({"Conv", "DetectionModel", kind}, ())
    assert family is not None
    assert family.name == name


def test_no_model_of_ours_is_called_another() -> None:
    with torch.device("meta"):
        for model in model_names()[::5]:
            tensors = Detector(build_spec(model, ("a",))).state_dict()
            family = family_of((), tensors)
            assert family is None, (model, family)
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
