"""Which class of one list is which of another: the same name, or the same thing spelled as another data set does."""

import re
from collections.abc import Mapping, Sequence

SPELLINGS: Mapping[str, str] = {
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "sofa": "couch",
    "tvmonitor": "tv",
}
"""Pascal VOC's names by those of COCO, without blanks; `diningtable` and `pottedplant` differ in blanks alone."""


def match_classes(wanted: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """For each wanted name the known one that means the same; names without one are left out.

    The very same name comes first, then one that differs in case, blanks, `_` or `-`, or by COCO's and VOC's spellings.
    """
    spelled = {_plain(name): name for name in reversed(known)}
    found = {name: name if name in known else spelled.get(_plain(name)) for name in wanted}
    return {name: other for name, other in found.items() if other is not None}


def _plain(name: str) -> str:
    plain = re.sub(r"[\s_-]+", "", name.casefold())
    return SPELLINGS.get(plain, plain)
