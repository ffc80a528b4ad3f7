"""The head of a cfg: [yolo] sections, each with the convolution before it, and the ModelSpec's head of them."""

from dataclasses import dataclass

from yoloslim.errors import WeightsError
from yoloslim.heads.anchor import AnchorHead, BoxDecoding
from yoloslim.models.foreign.darknet.cfg import Section
from yoloslim.models.foreign.darknet.convolution import MAX_CHANNELS


@dataclass(frozen=True)
class Level:
    """A [yolo] section: the layer its convolution reads, and how its outputs become boxes."""

    source: int
    stride: int
    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale: float
    new_coords: bool


def level_of(section: Section, conv: Section, source: int, stride: int) -> Level:
    """What a [yolo] section says.

    Args:
        section: the section.
        conv: the convolution before it, which gives its outputs.
        source: the layer that the convolution reads; negative for the image.
        stride: of that layer, px.

    Raises:
        WeightsError: the two do not fit each other; names the line.
    """
    flat = section.numbers("anchors")
    pairs = tuple(zip(flat[::2], flat[1::2], strict=False))
    mask, classes = section.integers("mask", tuple(range(len(pairs)))), section.integer("classes", 20)
    if not mask or not all(0 <= i < len(pairs) for i in mask):
        raise section.error(f"mask {mask} names anchors that are not there; there are {len(pairs)}", "mask")
    new_coords = bool(section.integer("new_coords", 0))
    filters, wanted = conv.integer("filters", 1), len(mask) * (5 + classes)
    if not 1 <= classes <= MAX_CHANNELS:
        raise section.error(f"classes={classes} is out of range", "classes")
    if filters != wanted:
        raise conv.error(f"filters={filters} should be {wanted}: {len(mask)} anchors x (5 + {classes})", "filters")
    plain = (conv.integer("size", 1), conv.integer("stride", 1), conv.integer("batch_normalize", 0)) == (1, 1, 0)
    if not plain or source < 0 or conv.text("activation", "linear") != ("logistic" if new_coords else "linear"):
        raise conv.error("in front of [yolo] stands a 1x1 convolution without batch_normalize and activation")
    (scale,) = section.numbers("scale_x_y", (1.0,))[:1]
    anchors = tuple(pairs[i] for i in mask)
    return Level(source, stride, anchors, classes, scale, new_coords)


def head_of(levels: list[Level]) -> AnchorHead:
    """The head of levels that are sorted by stride.

    Raises:
        WeightsError: there are none, or they disagree.
    """
    if not levels:
        raise WeightsError("it has no [yolo] section, so it is no detector of YOLOv3 or YOLOv4")
    counts = {level.classes for level in levels}
    coords = {level.new_coords for level in levels}
    if len(counts) > 1 or len(coords) > 1:
        raise WeightsError(f"its [yolo] sections disagree: classes {sorted(counts)}, new_coords {sorted(coords)}")
    decoding = BoxDecoding(
        kind="yolov5" if coords.pop() else "darknet", scale_x_y=tuple(level.scale for level in levels)
    )
    return AnchorHead(
        strides=tuple(level.stride for level in levels),
        anchors=tuple(level.anchors for level in levels),
        decoding=decoding,
    )
