"""From the sections of a cfg to a ModelSpec: any network of the layers that YOLOv3 and YOLOv4 are made of."""

from pydantic import ValidationError

from yoloslim.errors import WeightsError
from yoloslim.models.foreign.darknet.cfg import Section
from yoloslim.models.foreign.darknet.head import head_of
from yoloslim.models.foreign.darknet.known import BN_EPS, known_model
from yoloslim.models.foreign.darknet.layers import Builder
from yoloslim.models.spec import LayerSpec, ModelSpec

MAX_SECTIONS, MAX_SIDE = 2_000, 4096


def spec_from_cfg(sections: list[Section], classes: tuple[str, ...] | None, name: str) -> ModelSpec:
    """Describe the network of a cfg.

    Args:
        sections: as `read_cfg` gives them.
        classes: their names; None numbers them.
        name: for a network that is none of ours; one that is, up to its channel counts, gets our name.

    Raises:
        WeightsError: a layer that cannot be expressed; names the line.
    """
    net, body = sections[0], sections[1:]
    if len(body) > MAX_SECTIONS:
        raise WeightsError(f"{len(body)} sections are more than any detector has")
    side = _side(net)
    builder = Builder(body)
    for index in range(len(body)):
        builder.add(index)
    levels = sorted(builder.levels, key=lambda level: level.stride)
    detect = LayerSpec(block="Detect", inputs=tuple(level.source for level in levels))
    try:
        head, nc = head_of(levels), levels[0].classes
        if classes is not None and len(classes) != nc:
            raise WeightsError(f"it has {nc} classes, but {len(classes)} names are given")
        spec = ModelSpec(
            name=name,
            classes=classes or tuple(f"class{i}" for i in range(nc)),
            head=head,
            imgsz=side,
            layers=(*builder.layers, detect),
            bn_eps=BN_EPS,
        )
    except ValidationError as error:
        raise WeightsError(f"it cannot be built: {error.errors()[0]['msg']}") from error
    return known_model(spec)


def _side(net: Section) -> int:
    """The longer side of the images, px."""
    if net.integer("channels", 3) != 3:
        raise net.error(f"channels={net.text('channels')[:20]}: only images of 3 channels are supported", "channels")
    sides = {key: net.integer(key, 416) for key in ("width", "height")}
    for key, side in sides.items():
        if not 1 <= side <= MAX_SIDE:
            raise net.error(f"{key}={side} is out of range, 1 to {MAX_SIDE}", key)
    return max(sides.values())
