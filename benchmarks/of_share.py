"""The search for the network of a family that takes as much as is wanted."""

from collections.abc import Callable

import numpy as np

from yoloslim.errors import PruneError
from yoloslim.models.detector import Detector

CLOSE = 0.02
"""A network whose latency is this close to what is asked for, relatively, is taken."""


def of_share(
    share: float, shrink: Callable[[float], Detector], share_of: Callable[[Detector], float], is_limit: bool
) -> tuple[Detector, float, float]:
    """The network of a family that takes this share of the dense one's latency (or FLOPs), by the secant method.

    Where a family ends before the share, its nearest network counts; the table shows what it takes.

    Args:
        share: what is wanted.
        shrink: makes the network of about a share of the FLOPs.
        share_of: what a network takes.
        is_limit: the nearest that takes no more counts, as of FLOPs, which are exact.

    Returns:
        The network, the share of FLOPs that it was asked for with, and the share of the latency that it has.
    """
    asked, tried = share, list[tuple[float, float, Detector]]()
    limit = share if is_limit else np.inf
    for _ in range(8):
        try:
            small = shrink(asked)
        except PruneError:
            if not tried:
                raise
            asked = (asked * tried[-1][0]) ** 0.5  # no way makes it so small: half the way back
            continue
        if any(small.spec == other.spec for _, _, other in tried):
            if tried[-1][1] <= limit:
                break
            asked *= 0.97  # widths go in steps
            continue
        tried.append((asked, share_of(small), small))
        found = tried[-1][1]
        if abs(found / share - 1) < CLOSE and found <= limit:
            break
        slope = 1.0
        if len(tried) > 1 and tried[-2][0] != asked:
            slope = np.log(found / tried[-2][1]) / np.log(asked / tried[-2][0])
        following = float(np.clip(asked * (share / found) ** (1 / np.clip(slope, 0.5, 2)), 0.01, 1))
        if following == asked:
            break
        asked = following
    asked, found, small = min(tried, key=lambda t: (t[1] > limit, abs(np.log(t[1] / share))))
    return small, asked, found
