"""The seeded recipe that the peers were measured with (numpy RandomState streams, layer by layer)."""

import numpy as np
import torch
from torch import nn


def seed_batchnorms(model: nn.Module) -> None:
    """Random scales |N(0, 1)| / 2, shifts, means and variances; scales from seed 0, the others from seed 1."""
    scales, others = np.random.RandomState(0), np.random.RandomState(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                n = module.num_features
                module.weight.copy_(torch.from_numpy(np.abs(scales.randn(n)) * 0.5).float())
                module.bias.copy_(torch.from_numpy(others.randn(n) * 0.1).float())
                module.running_mean.copy_(torch.from_numpy(others.randn(n) * 0.1).float())
                module.running_var.copy_(torch.from_numpy(others.rand(n) + 0.5).float())


COUNTS_AT_50 = {
    "model.0.bn": 17, "model.1.bn": 34,
    "model.2.cv1.bn": 32, "model.2.cv2.bn": 18, "model.2.cv3.bn": 33,
    "model.2.m.0.cv1.bn": 32, "model.2.m.0.cv2.bn": 32,
    "model.3.bn": 67,
    "model.4.cv1.bn": 64, "model.4.cv2.bn": 35, "model.4.cv3.bn": 53,
    "model.4.m.0.cv1.bn": 64, "model.4.m.0.cv2.bn": 64, "model.4.m.1.cv1.bn": 64, "model.4.m.1.cv2.bn": 64,
    "model.5.bn": 120,
    "model.6.cv1.bn": 128, "model.6.cv2.bn": 65, "model.6.cv3.bn": 125,
    "model.6.m.0.cv1.bn": 128, "model.6.m.0.cv2.bn": 128, "model.6.m.1.cv1.bn": 128,
    "model.6.m.1.cv2.bn": 128, "model.6.m.2.cv1.bn": 128, "model.6.m.2.cv2.bn": 128,
    "model.7.bn": 268,
    "model.8.cv1.bn": 256, "model.8.cv2.bn": 133, "model.8.cv3.bn": 264,
    "model.8.m.0.cv1.bn": 256, "model.8.m.0.cv2.bn": 256,
    "model.9.cv1.bn": 131, "model.9.cv2.bn": 265, "model.10.bn": 121,
    "model.13.cv1.bn": 60, "model.13.cv2.bn": 64, "model.13.cv3.bn": 118,
    "model.13.m.0.cv1.bn": 68, "model.13.m.0.cv2.bn": 69,
    "model.14.bn": 71,
    "model.17.cv1.bn": 33, "model.17.cv2.bn": 39, "model.17.cv3.bn": 68,
    "model.17.m.0.cv1.bn": 40, "model.17.m.0.cv2.bn": 32,
    "model.18.bn": 56,
    "model.20.cv1.bn": 64, "model.20.cv2.bn": 55, "model.20.cv3.bn": 123,
    "model.20.m.0.cv1.bn": 62, "model.20.m.0.cv2.bn": 56,
    "model.21.bn": 123,
    "model.23.cv1.bn": 127, "model.23.cv2.bn": 127, "model.23.cv3.bn": 243,
    "model.23.m.0.cv1.bn": 141, "model.23.m.0.cv2.bn": 124,
}  # fmt: skip
"""Channels that the peer's rule leaves of yolov5s with 20 classes at 50 %, layer by layer (measured)."""
