"""The layer lists of the public cfg files, in short: order, numbers and relative routes as published."""

SHAPES = {"c": ("filters", "size", "stride", "activation"), "m": ("size", "stride")}


def cfg(layers: str, anchors: str, size: int = 416) -> str:
    """Write out `c 64 3 2 leaky; r -2; s -3; m 5 1; u 2; y 0,1,2` as sections; `y` brings its convolution along."""
    sections = [f"[net]\nwidth={size}\nheight={size}\nchannels=3\n"]
    for layer in layers.replace("\n", ";").split(";"):
        match layer.split():
            case ["c", *numbers]:
                options = "".join(f"{k}={v}\n" for k, v in zip(SHAPES["c"], numbers, strict=True))
                sections.append(f"[convolutional]\nbatch_normalize=1\npad=1\n{options}")
            case ["m", *numbers]:
                sections.append(
                    "[maxpool]\n" + "".join(f"{k}={v}\n" for k, v in zip(SHAPES["m"], numbers, strict=True))
                )
            case ["r", source, *group]:
                sections.append(f"[route]\nlayers = {source}\n" + ("groups=2\ngroup_id=1\n" if group else ""))
            case ["s", source]:
                sections.append(f"[shortcut]\nfrom={source}\nactivation=linear\n")
            case ["u", factor]:
                sections.append(f"[upsample]\nstride={factor}\n")
            case ["y", mask]:
                sections.append("[convolutional]\nsize=1\nstride=1\npad=1\nfilters=255\nactivation=linear\n")
                sections.append(f"[yolo]\nmask = {mask}\nanchors = {anchors}\nclasses=80\nnum=9\njitter=.3\nrandom=1\n")
    return "\n".join(sections)


def units(count: int, hidden: int, channels: int, act: str) -> str:
    """Residual units."""
    return f"c {hidden} 1 1 {act}; c {channels} 3 1 {act}; s -3;" * count


def leaky(*pairs: tuple[int, int]) -> str:
    """Convolutions of stride 1 as (channels, kernel)."""
    return ";".join(f"c {channels} {kernel} 1 leaky" for channels, kernel in pairs) + ";"


def crossing(count: int, channels: int, hidden: int, out: int) -> str:
    """A stage of YOLOv4's backbone: half goes round the residual units."""
    half = f"c {channels} 1 1 mish"
    return f"c {out} 3 2 mish; {half}; r -2; {half}; {units(count, hidden, channels, 'mish')} {half}; " + (
        f"r -1,-{3 * count + 4}; c {out} 1 1 mish;"
    )


def darknet53() -> str:
    """The backbone of YOLOv3."""
    stages = ((1, 32, 64), (2, 64, 128), (8, 128, 256), (8, 256, 512), (4, 512, 1024))
    return "c 32 3 1 leaky;" + "".join(f"c {c} 3 2 leaky; {units(n, h, c, 'leaky')}" for n, h, c in stages)


def narrowing(channels: int) -> str:
    """Three times 1x1 and 3x3, as before every head."""
    return leaky((channels, 1), (2 * channels, 3)) * 3


YOLOV3_ANCHORS = "10,13, 16,30, 33,23, 30,61, 62,45, 59,119, 116,90, 156,198, 373,326"
TINY_ANCHORS = "10,14, 23,27, 37,58, 81,82, 135,169, 344,319"
YOLOV4_ANCHORS = "12, 16, 19, 36, 40, 28, 36, 75, 76, 55, 72, 146, 142, 110, 192, 243, 459, 401"

YOLOV3_NECK = (
    "y 6,7,8; r -4; c 256 1 1 leaky; u 2; r -1,61;" + narrowing(256)
    + "y 3,4,5; r -4; c 128 1 1 leaky; u 2; r -1,36;" + narrowing(128) + "y 0,1,2"
)  # fmt: skip
THREE = leaky((512, 1), (1024, 3), (512, 1))
SPP = "m 5 1; r -2; m 9 1; r -4; m 13 1; r -1,-3,-5,-6;"

YOLOV3 = darknet53() + THREE + leaky((1024, 3), (512, 1), (1024, 3)) + YOLOV3_NECK
YOLOV3_SPP = darknet53() + THREE + SPP + THREE + leaky((1024, 3)) + YOLOV3_NECK
YOLOV3_TINY = (
    "".join(f"c {channels} 3 1 leaky; m 2 2;" for channels in (16, 32, 64, 128, 256))
    + "c 512 3 1 leaky; m 2 1; c 1024 3 1 leaky; c 256 1 1 leaky; c 512 3 1 leaky; y 3,4,5;"
    + "r -4; c 128 1 1 leaky; u 2; r -1,8; c 256 3 1 leaky; y 0,1,2"
)


def tiny_stage(channels: int) -> str:
    """A stage of YOLOv4-tiny's backbone."""
    half = f"c {channels // 2} 3 1 leaky"
    return f"c {channels} 3 1 leaky; r -1 half; {half}; {half}; r -1,-2; c {channels} 1 1 leaky; r -6,-1; m 2 2;"


YOLOV4_TINY_BACKBONE = (
    "c 32 3 2 leaky; c 64 3 2 leaky;" + tiny_stage(64) + tiny_stage(128) + tiny_stage(256) +
    leaky((512, 3), (256, 1), (512, 3))
)  # fmt: skip
YOLOV4_TINY = YOLOV4_TINY_BACKBONE + "y 3,4,5; r -4; c 128 1 1 leaky; u 2; r -1,23; c 256 3 1 leaky; y 1,2,3"
YOLOV4_TINY_3L = (
    YOLOV4_TINY_BACKBONE + "y 6,7,8; r -4; c 128 1 1 leaky; u 2; r -1,23; c 256 3 1 leaky; y 3,4,5;"
    "r -3; c 64 1 1 leaky; u 2; r -1,15; c 128 3 1 leaky; y 0,1,2"
)
YOLOV4 = (
    "c 32 3 1 mish;" + crossing(1, 64, 32, 64) + crossing(2, 64, 64, 128) + crossing(8, 128, 128, 256)
    + crossing(8, 256, 256, 512) + crossing(4, 512, 512, 1024) + THREE + SPP + THREE
    + "c 256 1 1 leaky; u 2; r 85; c 256 1 1 leaky; r -1,-3;"
    + leaky((256, 1), (512, 3), (256, 1), (512, 3), (256, 1))
    + "c 128 1 1 leaky; u 2; r 54; c 128 1 1 leaky; r -1,-3;"
    + narrowing(128) + "y 0,1,2; r -4; c 256 3 2 leaky; r -1,-16;"
    + narrowing(256) + "y 3,4,5; r -4; c 512 3 2 leaky; r -1,-37;"
    + narrowing(512) + "y 6,7,8"
)  # fmt: skip

PUBLIC = {
    "yolov3": cfg(YOLOV3, YOLOV3_ANCHORS),
    "yolov3-spp": cfg(YOLOV3_SPP, YOLOV3_ANCHORS),
    "yolov3-tiny": cfg(YOLOV3_TINY, TINY_ANCHORS),
    "yolov4": cfg(YOLOV4, YOLOV4_ANCHORS, 608),
    "yolov4-tiny": cfg(YOLOV4_TINY, TINY_ANCHORS),
    "yolov4-tiny-3l": cfg(YOLOV4_TINY_3L, YOLOV4_ANCHORS, 608),
}
