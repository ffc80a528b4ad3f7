"""What a person sees of a training: a bar within the epoch on a terminal, and one line an epoch everywhere."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from tqdm import tqdm

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Progress:
    """Tells where a training is; the time left counts validation too."""

    def __init__(self, epochs: int, done: int = 0) -> None:
        """Start the clock.

        Args:
            epochs: how many there are.
            done: how many an interrupted run had finished before.
        """
        self.epochs, self.before = epochs, done
        self.start = time.perf_counter()

    def steps(self, steps: Iterable[T], epoch: int, total: int | None = None) -> Iterator[T]:
        """Pass steps on, with a bar that is gone when they are over; no bar where nobody watches.

        Args:
            steps: of one epoch.
            epoch: its number, from 1.
            total: how many steps, where `steps` does not know.
        """
        name = f"epoch {epoch:{len(str(self.epochs))}d}/{self.epochs}"
        yield from tqdm(steps, name, total, leave=False, disable=None, unit="step", dynamic_ncols=True)

    def epoch(self, row: Mapping[str, float], other_cores: float = 0.0) -> None:
        """Log an epoch's row in one line, with the time that the rest will take.

        Args:
            row: of the epoch.
            other_cores: cores of other programs that it had to share; 0 where it had all it can use.
        """
        passed = time.perf_counter() - self.start
        done = round(row["epoch"]) - self.before
        left = passed / max(done, 1) * (self.epochs - row["epoch"])
        end = f"{duration(left)} left" if left else f"{duration(passed)} in all"
        beside = f" (other programs took {other_cores:.1f} cores)" if other_cores else ""
        logger.info("%s%s  %s", line(row, self.epochs), beside, end)


def line(row: Mapping[str, float], epochs: int) -> str:
    """An epoch's numbers, in columns that stand below one another; a dash where an epoch was not validated."""
    parts = [f"epoch {row['epoch']:{len(str(epochs))}.0f}/{epochs}"]
    terms = [name for name in row if name.endswith("_loss") and not name.startswith("distill_")]
    losses = " ".join(f"{name.removesuffix('_loss')} {row[name]:.4f}" for name in terms)
    parts.append(f"loss {row['loss']:.4f} ({losses})")
    teacher = [value for name, value in row.items() if name.startswith("distill_")]
    if teacher:
        parts.append(f"teacher {sum(teacher):.4f}")
    parts.append(f"val mAP50 {_share(row.get('map50'))} mAP50-95 {_share(row.get('map50_95'))}")
    if "near_zero" in row:
        quantiles = " ".join(f"{row[f'gamma_p{q}']:.2f}" for q in ("05", "50", "95"))
        parts.append(f"|gamma| 5/50/95 % {quantiles}, {100 * row['near_zero']:2.0f} % near zero")
    parts.append(f"{row['images_per_s']:.0f} images/s")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """A time as people say it: 42 s, 3 min 05 s, 2 h 10 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def _share(value: float | None) -> str:
    return "  –  " if value is None else f"{value:.3f}"
