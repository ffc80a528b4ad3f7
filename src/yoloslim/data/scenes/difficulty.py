"""How hard the scenes are: the one place to turn."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difficulty:
    """What makes a scene hard to read.

    Attributes:
        smallest: longest side of the smallest objects, as a share of the image.
        most_objects: objects an image at most.
        overlap: share of an object's box that another may cover when it is placed; now and then it covers more.
        clutter: things of no class an image at most.
        foreign: probability that an object stands on a background it does not belong to.
        blur: standard deviation of the strongest blur, in pixels of a 512-pixel image.
        noise: standard deviation of the strongest sensor noise, in grey levels.
        contrast: the weakest contrast, as a factor.
        worst_quality: of JPEG, 1 to 100.
    """

    smallest: float
    most_objects: int
    overlap: float
    clutter: int
    foreign: float
    blur: float
    noise: float
    contrast: float
    worst_quality: int


def difficulty_at(level: float) -> Difficulty:
    """Difficulty between 0 (large, clean, apart) and 1 (small, crowded, dim and noisy)."""
    return Difficulty(
        smallest=0.3 * 0.2**level,
        most_objects=round(4 + 8 * level),
        overlap=0.1 + 0.5 * level,
        clutter=round(8 * level),
        foreign=0.1 + 0.4 * level,
        blur=2.8 * level,
        noise=18 * level,
        contrast=1 - 0.55 * level,
        worst_quality=round(90 - 65 * level),
    )


DIFFICULTY = difficulty_at(0.1)
"""What `render_scene` uses: measured so that a YOLOv5n trained from scratch is neither lost nor perfect."""
