"""A small model for deployment tests, with BatchNorm statistics that folding must get right."""

import torch
from torch import nn

from yoloslim.models.detector import Detector, build_detector


def tiny_detector(seed: int = 0, imgsz: int = 64) -> Detector:
    torch.manual_seed(seed)
    model = build_detector("yolov5n", ("a", "b", "c"), imgsz=imgsz)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return model.eval()
