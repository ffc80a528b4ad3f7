"""Leases: a stage takes a device before it starts, so that two trainings never share one by accident.

A lease is an operating system's lock on a small file, one for each device of this machine, so that it holds across
threads, processes and sweeps of one user, and is free the moment its holder is gone, however it went. A holder hands
the lock's descriptors to the subprocess that uses the device (`pass_fds=lease.fds`): if the holder is killed while
that goes on, the device counts as taken until it has ended too.
"""

import getpass
import logging
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from yoloslim.config import Params
from yoloslim.cores import usable_cores
from yoloslim.errors import ConfigError, SweepError
from yoloslim.orchestration.process import CommandError, go_on, is_stopped

logger = logging.getLogger(__name__)

ALL = 0
"""Count that takes every device, for what others would disturb, such as timing."""
POLL_S = 0.2
MOST_SLOTS = 8
"""A search has no use for more points at a time."""
TRAINING_BYTES = 3 * 10**9
"""Memory that a training takes, and some to spare."""


@dataclass(frozen=True)
class Lease:
    """Devices that are this holder's alone.

    Attributes:
        devices: UUIDs of GPUs, or names of CPU slots.
        environment: variables for the subprocess, which make it see these devices and no others.
        fds: descriptors of the locks, for `pass_fds` of the subprocess.
    """

    devices: tuple[str, ...]
    environment: Mapping[str, str]
    fds: tuple[int, ...]


@contextmanager
def lease(count: int = 1, *, slots: int = 0, folder: Path | None = None) -> Iterator[Lease]:
    """Wait until so many devices are free, and hold them.

    One holder gathers at a time, in the order of the queue, so that two that want several each cannot block each
    other, and one that wants all is not passed by forever.

    Args:
        count: devices wanted; ALL takes every one.
        slots: how many stages may run at once where there is no GPU; 0 leaves it to `cpu_slots`.
        folder: of the locks; None is one of the user's, on this machine.

    Raises:
        ConfigError: more devices are wanted than there are.
        SweepError: the folder of the locks belongs to another user.
        CommandError: all was stopped meanwhile.
    """
    gpus = visible_gpus()
    slots = slots or cpu_slots()
    devices = gpus or tuple(f"cpu-{number}" for number in range(slots))
    if count > len(devices):
        what = "GPUs are visible" if gpus else "CPU slots are set"
        raise ConfigError(f"{count} devices at once are asked for, but only {len(devices)} {what}")
    folder = folder or lease_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise SweepError(f"{folder} belongs to somebody else, who could follow or block this sweep; remove it")
    with ExitStack() as held:
        taken = _gather(devices, count or len(devices), folder, held)
        yield Lease(tuple(taken), environment_of(tuple(taken), bool(gpus), slots), tuple(taken.values()))


def _gather(devices: Sequence[str], count: int, folder: Path, held: ExitStack) -> dict[str, int]:
    """Lock devices, as they become free, until there are enough; the descriptor of each."""
    taken: dict[str, int] = {}
    said = False
    queue = FileLock(folder / "queue.lock", fallback_to_soft=False)
    try:
        first = queue.acquire(cancel_check=is_stopped)
    except Timeout:  # what a cancelled one raises, too
        raise CommandError("stopped while it waited for a device") from None
    with first:
        while True:
            go_on()
            for device in devices:
                if device not in taken and len(taken) < count and (fd := _try_lock(folder, device, held)) is not None:
                    taken[device] = fd
            if len(taken) == count:
                return taken
            if not said:
                logger.info("waiting for a free device: %d of %d", count - len(taken), len(devices))
                said = True
            time.sleep(POLL_S)


def _try_lock(folder: Path, device: str, held: ExitStack) -> int | None:
    fds: list[int] = []
    # A soft lock, its fallback where a file system knows no locks, would outlive a killed holder.
    lock = FileLock(folder / f"{device}.lock", timeout=0, fallback_to_soft=False, on_acquired=fds.append)
    try:
        held.enter_context(lock)
    except Timeout:
        return None
    return fds[0]


def environment_of(devices: Sequence[str], gpu: bool, slots: int) -> dict[str, str]:
    """Variables that make a subprocess see only its devices; some of the CPU slots get their share of the cores."""
    if gpu:
        return {"CUDA_VISIBLE_DEVICES": ",".join(devices)}
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    if len(devices) == slots or "OMP_NUM_THREADS" in os.environ:
        return hidden
    return hidden | {"OMP_NUM_THREADS": str(max(1, len(devices) * usable_cores() // slots))}


def cpu_slots() -> int:
    """How many trainings run side by side where there is no GPU, each with its share of the cores, at least 1.

    One a core, as far as memory goes: two threads that share the operations of a small network do less together than
    two trainings of one thread each.
    """
    memory = int(psutil.virtual_memory().total)
    return max(1, min(usable_cores(), MOST_SLOTS, memory // TRAINING_BYTES))


def workers_of(params: Params) -> int:
    """Points that run side by side."""
    return params.sweep.workers or len(visible_gpus()) or cpu_slots()


def visible_gpus() -> tuple[str, ...]:
    """UUIDs of the GPUs, or of their MIG slices, that this process may use; empty without any.

    Raises:
        ConfigError: CUDA_VISIBLE_DEVICES names a device that is not there.
    """
    gpus = _gpus()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not gpus:
        return tuple(uuid for uuids in gpus for uuid in uuids)
    found = [_choose(word.strip(), gpus) for word in chosen.split(",") if word.strip() not in ("", "-1")]
    return tuple(dict.fromkeys(uuid for uuids in found for uuid in uuids))


def _choose(word: str, gpus: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """What one word of CUDA_VISIBLE_DEVICES stands for: a number, or the beginning of a UUID."""
    if word.isdecimal() and int(word) < len(gpus):
        return gpus[int(word)]
    matches = tuple(uuid for uuids in gpus for uuid in uuids if not word.isdecimal() and uuid.startswith(word))
    if not matches:
        raise ConfigError(f"CUDA_VISIBLE_DEVICES names '{word}', but `nvidia-smi -L` lists {len(gpus)} GPUs without it")
    return matches


@cache
def _gpus() -> tuple[tuple[str, ...], ...]:
    """For each GPU of the machine its UUID, or those of its MIG slices."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_gpus(listed.stdout if listed.returncode == 0 else "")


def parse_gpus(text: str) -> tuple[tuple[str, ...], ...]:
    """Read what `nvidia-smi -L` prints: a line for each GPU, below it an indented one for each MIG slice."""
    gpus: list[list[str]] = []
    for line in text.splitlines():
        found = re.search(r"\(UUID: ([\w./-]+)\)", line)
        if found and line.startswith("GPU "):
            gpus.append([found[1]])
        elif found and gpus:
            slices = [uuid for uuid in gpus[-1] if uuid.startswith("MIG-")]
            gpus[-1] = [*slices, found[1]]
    return tuple(tuple(uuids) for uuids in gpus)


def lease_folder() -> Path:
    """Where this user's locks are: on the machine's own disk, never a shared one, since devices are the machine's."""
    return Path(tempfile.gettempdir()) / f"yoloslim-leases-{getpass.getuser()}"
