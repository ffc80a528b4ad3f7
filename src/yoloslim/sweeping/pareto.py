"""The Pareto front: points that no other beats in one measure without losing in another."""

from collections.abc import Mapping


def pareto_front(points: Mapping[str, tuple[float, ...]]) -> list[str]:
    """Names of the points that are not dominated, the cheapest first.

    Args:
        points: name -> values that should all be small. Of equal points the first is kept.
    """
    front: list[str] = []
    for name in sorted(points, key=lambda n: points[n]):
        if not any(all(a <= b for a, b in zip(points[other], points[name], strict=True)) for other in front):
            front.append(name)
    return front
