"""A small cfg with every kind of layer, written as people write them, and models to compare."""

import torch
from torch import nn

from tests.tiny import shake_norms
from yoloslim.models.detector import Detector, build_detector

CFG = """
# comments and blanks do not matter
[net]
width=64
height = 64
channels=3
batch=1

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=mish

[convolutional]
batch_normalize=1
filters=4
size=1
stride=1
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=8
size=3
stride=1
pad=1
activation=leaky

[shortcut]
from=-3
activation=linear

[maxpool]
size=2
stride=2

[conv]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

; a grouped route: the second half of the channels
[route]
layers=-1
groups=2
group_id=1

[convolutional]
batch_normalize=1
filters=6
size=3
stride=2
pad=1
activation=leaky

[maxpool]
stride=1
size=3

[route]
layers = -1, -2

[convolutional]
size=1
stride=1
pad=1
filters=21
activation=linear

[yolo]
mask = 3,4,5
anchors = 4,5,  6,7,  8,9,  10,14,  23,27,  37,58
classes=2
num=6
scale_x_y = 1.05

[route]
layers = -3

[upsample]
stride=2

[route]
layers = -1, 5

[convolutional]
filters=21
size=1
activation=linear

[yolo]
mask = 0,1,2
anchors = 4,5,  6,7,  8,9,  10,14,  23,27,  37,58
classes=2
num=6
"""


def shaken(name: str, imgsz: int = 64) -> Detector:
    torch.manual_seed(0)
    model = build_detector(name, ("cat", "dog"), imgsz).eval()
    shake_norms(model)
    for parameter in model.model[-1].parameters():
        nn.init.normal_(parameter, 0, 0.1)
    return model
