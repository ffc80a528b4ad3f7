"""Cfgs of layers that other detectors of Darknet have, and what OpenCV's Darknet reader makes of them.

`opencv.npz` beside this holds for each of them random weights and the raw outputs that OpenCV 4.10 gave for `image()`.
OpenCV 5 reads no Darknet files, so a Python with OpenCV 4 runs this as a script: `python others.py FOLDER`, with
FOLDER/<name>.weights as the test `test_weights_can_be_drawn_again` leaves them where DARKNET_WEIGHTS names a folder.
"""

import sys
from pathlib import Path

import numpy as np

NET = "[net]\nwidth=64\nheight=64\nchannels=3\n"


def conv(filters, size=1, stride=1, activation="leaky", norm=1, groups=1):
    options = f"filters={filters}\nsize={size}\nstride={stride}\npad=1\nactivation={activation}\n"
    norm = "batch_normalize=1\n" if norm else ""
    return f"[convolutional]\n{norm}{f'groups={groups}' if groups > 1 else ''}\n{options}"


def section(kind, **options):
    return f"[{kind}]\n" + "".join(f"{key.rstrip('_')}={value}\n" for key, value in options.items())


HEAD = conv(14, activation="linear", norm=0) + section(
    "yolo", mask="0,1", anchors="8,9, 20,30", classes=2, num=2, scale_x_y=1
)

OTHERS = {
    # inverted residuals with depthwise convolutions, as YOLO-Fastest and MobileNets have them
    "depthwise": NET
    + conv(8, 3, 2)
    + conv(16)
    + conv(16, 3, 1, groups=16)
    + conv(8, activation="linear")
    + section("dropout", probability=0.15)
    + section("shortcut", from_=-5, activation="linear")
    + conv(16, 3, 2, groups=8)
    + HEAD,
    # squeeze and excitation, as EfficientNets have it
    "squeeze": NET
    + conv(8, 3, 4, "swish")
    + section("avgpool")
    + conv(4, activation="swish", norm=0)
    + conv(8, activation="logistic", norm=0)
    + section("scale_channels", from_=-4)
    + conv(12, 3, 2, "relu")
    + HEAD,
    # the passthrough of YOLOv2
    "reorg": NET
    + conv(8, 3, 2)
    + conv(8, 3, 2, groups=2)
    + section("route", layers="-2")
    + section("reorg", stride=2)
    + section("route", layers="-1,-3")
    + conv(10, 3, 2)
    + HEAD,
    # spatial attention, and a sum with an activation behind it
    "attention": NET
    + conv(8, 3, 4, "mish")
    + conv(8, activation="logistic")
    + section("sam", from_=-2)
    + conv(8, 3, 1, "linear")
    + section("shortcut", from_=-2, activation="leaky")
    + section("maxpool", size=3, stride=1)
    + HEAD,
}


def image():
    """RGB in [0, 1], (1, 3, 64, 64)."""
    return np.random.default_rng(7).random((1, 3, 64, 64), np.float32)


def main(folder):
    import cv2

    kept = {}
    for name, cfg in OTHERS.items():
        data = np.frombuffer((folder / f"{name}.weights").read_bytes(), np.uint8)
        net = cv2.dnn.readNetFromDarknet(np.frombuffer(cfg.encode(), np.uint8), data)
        net.setInput(image())
        (permuted,) = (layer for layer in net.getLayerNames() if layer.startswith("permute"))  # in front of [yolo]
        kept |= {f"{name}_weights": data, f"{name}_output": net.forward(permuted)}
    np.savez_compressed(Path(__file__).with_name("opencv.npz"), **kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
