"""The smallest detector that has every level, and data to train it on; for tests of several packages."""

import torch
from torch import Tensor, nn

from yoloslim.data.trainset import TrainSet
from yoloslim.heads import AnchorHead
from yoloslim.heads.anchor import Anchors
from yoloslim.models.detector import Detector
from yoloslim.models.spec import LayerSpec, ModelSpec

ANCHORS: Anchors = (((8, 8), (16, 10)), ((20, 20), (30, 14)), ((40, 40), (60, 50)))
HEAD = AnchorHead(strides=(8, 16, 32), anchors=ANCHORS)


def tiny_spec(classes: tuple[str, ...] = ("a", "b"), imgsz: int = 64) -> ModelSpec:
    conv = {"block": "Conv", "kernel": 3, "stride": 2}
    layers = (
        LayerSpec(**conv, channels=4),
        LayerSpec(**conv, channels=8),
        LayerSpec(**conv, channels=8),
        LayerSpec(block="C3", channels=8, repeats=1),
        LayerSpec(**conv, channels=8),
        LayerSpec(**conv, channels=8),
        LayerSpec(block="Detect", inputs=(3, 4, 5)),
    )
    return ModelSpec(name="tiny", classes=classes, head=HEAD, imgsz=imgsz, layers=layers)


def tiny_detector(classes: tuple[str, ...] = ("a", "b"), imgsz: int = 64, seed: int = 0) -> Detector:
    torch.manual_seed(seed)
    return Detector(tiny_spec(classes, imgsz))


def shake_norms(model: nn.Module, seed: int = 0) -> None:
    """Statistics and scales such as training leaves, so that nothing is hidden by zeros and ones."""
    rng = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.weight, 1, 0.3, generator=rng)
            nn.init.normal_(module.bias, 0, 0.3, generator=rng)
            nn.init.normal_(module.running_mean, 0, 0.3, generator=rng)
            nn.init.uniform_(module.running_var, 0.3, 2, generator=rng)


def tiny_train_set(count: int = 4, size: int = 64, classes: int = 2, seed: int = 0) -> TrainSet:
    """Noise, with a bright square of its own colour for each of two boxes an image."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 120, (count, size, size, 3), dtype=torch.uint8, generator=rng)
    corner = torch.randint(0, size // 2, (count, 2, 2), generator=rng)
    sides = torch.randint(size // 6, size // 2, (count, 2, 2), generator=rng)
    boxes = torch.cat([corner, corner + sides], 2)
    labels = torch.randint(0, classes, (count, 2), generator=rng)
    for image, rows, numbers in zip(images, boxes.tolist(), labels.tolist(), strict=True):
        for (left, top, right, bottom), label in zip(rows, numbers, strict=True):
            image[top:bottom, left:right, label % 3] = 250
    sizes: Tensor = torch.full((count, 2), size)
    return TrainSet(images, sizes, boxes.float(), labels)
