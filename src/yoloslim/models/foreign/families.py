"""Networks that cannot be imported, named by their classes or tensors, with the way that works."""

import re
from collections.abc import Collection
from dataclasses import dataclass

RUN = (
    "export it to ONNX with its own program: `yoloslim eval`, `detect` and `speed` run such a file beside ours; to "
    "prune, train one of ours (`yoloslim models`), or give its torch module to `yoloslim.prune` in Python"
)
ONLY = "only boxes can be imported"
BOXES = f"{ONLY}; take the detector of the same family, such as yolov8n.pt for yolov8n-seg.pt"


@dataclass(frozen=True)
class Kind:
    """A kind of network.

    Attributes:
        name: as people know it.
        way: what to do instead.
        classes: names of pickled classes, any of which tells it.
        tensors: pattern of names of tensors, any of which tells it.
    """

    name: str
    way: str
    classes: frozenset[str] = frozenset()
    tensors: str = "(?!)"


def _classes(text: str) -> frozenset[str]:
    return frozenset(text.split())


FAMILIES = (
    Kind(
        "a YOLOv5-face (boxes with five landmarks)",
        f"landmarks are no boxes, and {ONLY}; train yolov5n or yolov5s on the faces' boxes",
        _classes("StemBlock CNConv"),
        r"model\.0\.stem_1\.",
    ),
    Kind(
        "a YOLOv7 for poses or faces",
        "key points are no boxes, and "
        + BOXES.partition(";")[0]
        + "; give a YOLOv7 detector as Darknet's .cfg and .weights",
        _classes("IKeypoint"),
        r"model\.\d+\.m_kpt\.",
    ),
    Kind(
        "a YOLOv7",
        "its Darknet files can be imported: give yolov7.weights with yolov7.cfg beside it (also -tiny and -x)",
        _classes("IDetect IAuxDetect IBin MP SPPCSPC ReOrg"),
        r"model\.\d+\.(ia|im)\.\d+\.implicit|model\.\d+\.rbr_reparam|model\.51\.cv7\.",
    ),
    Kind("a YOLOv9", RUN, _classes("DDetect DualDDetect TripleDDetect RepNCSPELAN4 ELAN1 SPPELAN CBFuse CBLinear")),
    Kind("a YOLOv10", RUN, _classes("v10Detect SCDown C2fCIB CIB")),
    Kind("a YOLO12", RUN, _classes("A2C2f AAttn ABlock")),
    Kind(
        "an RT-DETR",
        RUN,
        _classes("RTDETRDecoder HGBlock AIFI"),
        r"(decoder|transformer)\.dec_(bbox|score)_head",
    ),
    Kind("a YOLO-World or YOLOE", RUN, _classes("WorldDetect YOLOEDetect WorldModel")),
    Kind("a YOLOv6", RUN, _classes("EfficientRep RepBiFPANNeck RepPANNeck"), r"(backbone\.ERBlock|neck\.Rep_p)"),
    Kind(
        "a YOLOX",
        RUN,
        _classes("YOLOX YOLOXHead YOLOPAFPN"),
        r"backbone\.backbone\.stem\.|head\.(cls|reg)_preds\.",
    ),
    Kind("a YOLO-NAS", RUN, _classes("YoloNAS_S YoloNAS_M YoloNAS_L NDFLHeads"), r"heads\.head1\.(cls|reg)_convs"),
    Kind("a detector of MMDetection or MMYOLO", RUN, frozenset(), r"(bbox_head|rpn_head|roi_head)\."),
    Kind("a detector of torchvision", RUN, frozenset(), r"(rpn\.head|roi_heads|backbone\.(body|features))\."),
    Kind("a NanoDet", RUN, _classes("NanoDetPlus GhostPAN"), r"(aux_)?(fpn|head)\.(gfl_cls|reduce_layers)"),
    Kind(
        "a YOLOv3 or YOLOv4 of a PyTorch port of Darknet",
        "give the .weights that it was converted from, with its .cfg beside it, or have the port save them",
        _classes("Darknet YOLOLayer"),
        r"module_list\.\d+\.",
    ),
    Kind(
        "a YOLOv5 older than v4.0",
        "its BottleneckCSP layers are none of ours: load it in YOLOv5 v7.0, whose releases have the same sizes anew",
        _classes("BottleneckCSP"),
        r"model\.2\.cv4\.conv",
    ),
)
"""The likelier first; two of them share classes with later ones."""


def family_of(classes: Collection[str], tensors: Collection[str]) -> Kind | None:
    """The family that has pickled classes or tensors of these names; None if it is none of the table."""
    return next(
        (
            family
            for family in FAMILIES
            if family.classes.intersection(classes) or any(re.match(family.tensors, name) for name in tensors)
        ),
        None,
    )
