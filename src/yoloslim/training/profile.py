"""Where the time of a training goes: a table of a step's parts, one of operations, and a trace (PyTorch's profiler)."""

import gzip
import logging
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile, record_function

from yoloslim.files import atomic_path, write_text
from yoloslim.quiet import silent

logger = logging.getLogger(__name__)

T = TypeVar("T")

SHARES = "shares"
"""The part in which threads compute shares of a batch side by side (`train.share`), parts of a step themselves."""
WARM_UP, STEPS = 3, 10
"""Steps of the first epoch before those that are recorded, and how many are."""
OPERATIONS = 15
"""Rows of the second table."""


class Profile:
    """Records some steps of the first epoch and the first validation; writes `profile.md` and `trace.json.gz`.

    The trace opens in Perfetto (https://ui.perfetto.dev) and in chrome://tracing. While steps are recorded, they take a
    little longer, and a GPU is waited for at the end of each part.
    """

    def __init__(self, folder: Path, device: torch.device, threads: int) -> None:
        self.folder, self.device, self.threads = folder, device, threads
        self._seconds: dict[str, float] = defaultdict(float)
        self._profiler: Any = None
        self._over, self._text = False, ""
        self._steps, self._start = 0, 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Clock what is done within: a part of a step, or the first validation. Parts of threads are added up."""
        passed_over = name in self._seconds if name == "validation" else self._profiler is None
        if passed_over:
            yield
            return
        start = time.perf_counter()
        with record_function(f"yoloslim {name}"):
            yield
            self._wait()
        self._seconds[name] += time.perf_counter() - start
        if name == "validation" and self._text:
            self._write()

    def steps(self, steps: Iterable[T], whole: bool = True) -> Iterator[T]:
        """Pass an epoch's steps on, and record some; those that are left of one that was interrupted may be too few."""
        source, number = iter(steps), 0
        while True:
            if not self._over and number == WARM_UP:  # the data of the first recorded step count
                self._begin()
            with self.part("data"):
                step = next(source, None)
            if step is None:
                self._end(number - WARM_UP, whole)
                return
            yield step
            number += 1
            if number == WARM_UP + STEPS:
                self._end(STEPS, whole)

    def _begin(self) -> None:
        cuda = [ProfilerActivity.CUDA] if self.device.type == "cuda" else []
        self._profiler = profile(
            activities=[ProfilerActivity.CPU, *cuda], experimental_config=_ExperimentalConfig(profile_all_threads=True)
        )
        with silent():  # it says when it starts and stops
            self._profiler.start()
        self._wait()
        self._start = time.perf_counter()

    def _end(self, steps: int, whole: bool) -> None:
        self._wait()
        seconds, profiler, self._profiler = time.perf_counter() - self._start, self._profiler, None
        if profiler is not None:
            with silent():
                profiler.stop()
        if self._over:
            return
        if steps <= 0:
            self._seconds.clear()
            self._over = whole  # else the next epoch is recorded
            if whole:
                said = "no profile: an epoch has %d step(s), and %d warm up; lower the batch"
                logger.warning(said, steps + WARM_UP, WARM_UP)
            return
        self._over = True
        self._text = self._table(seconds, steps) + self._operations(profiler)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            trace = Path(folder) / "trace.json"
            profiler.export_chrome_trace(str(trace))
            with atomic_path(self.folder / "trace.json.gz") as path:
                path.write_bytes(gzip.compress(trace.read_bytes(), mtime=0))
        self._write()

    def _table(self, whole: float, steps: int) -> str:
        """What the parts of a step take; threads that worked side by side count by how long all of them took."""
        parts = {name: s for name, s in self._seconds.items() if name not in ("validation", SHARES)}
        beside = {name: parts[name] for name in ("forward", "loss", "backward") if SHARES in self._seconds}
        parts |= {name: s * self._seconds[SHARES] / sum(beside.values()) for name, s in beside.items()}
        parts["rest"] = max(0.0, whole - sum(parts.values()))
        where = f"{self.device.type}, {self.threads} thread{'s' * (self.threads > 1)}"
        lines = [
            f"{steps} steps of {1000 * whole / steps:.1f} ms, {where}\n",
            "| part | ms a step | share |",
            "|:--|--:|--:|",
            *(f"| {name} | {1000 * s / steps:.2f} | {100 * s / whole:.1f} % |" for name, s in parts.items()),
        ]
        return "\n".join(lines) + "\n"

    def _operations(self, profiler: Any) -> str:
        """The operations that take longest, by the time spent in themselves."""
        on_gpu = self.device.type == "cuda"
        rows = [
            (event.key, (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1000, event.count)
            for event in profiler.key_averages()
            if not event.key.startswith(("yoloslim ", "ProfilerStep"))
        ]
        total = sum(ms for _, ms, _ in rows) or 1.0
        lines = ["", "| operation | calls | share |", "|:--|--:|--:|"]
        for name, ms, count in sorted(rows, key=lambda row: -row[1])[:OPERATIONS]:
            lines.append(f"| `{name[:60]}` | {count} | {100 * ms / total:.1f} % |")
        return "\n".join(lines) + "\n"

    def _write(self) -> None:
        validation = self._seconds.get("validation")
        said = f"\nThe first validation took {validation:.2f} s.\n" if validation else ""
        write_text(self.folder / "profile.md", self._text + said)
        if validation:
            logger.info("profile: %s and trace.json.gz beside it", os.path.relpath(self.folder / "profile.md"))
            logger.info(self._text)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
