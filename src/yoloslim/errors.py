"""Errors that a person can act on: each names the thing, the value and the way out."""

import errno
import mmap

MEMORY_MESSAGES = (
    "can't allocate memory",
    "annot allocate memory",
    "failed to map segment",
    "could not create a primitive",
    "Failed to allocate",
    "std::bad_alloc",
)
"""What PyTorch's allocator, the C library, its loader of libraries, oneDNN, OpenCV, ONNX Runtime and C++ say when there
is no RAM left."""
SCARCE_MB = 64
"""With less to be had, whatever fails may fail for that."""


def memory_ran_out(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, on a GPU or in RAM."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # PyTorch's; it takes seconds
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return any(text in str(error) for text in MEMORY_MESSAGES)


def memory_is_scarce(megabytes: int = SCARCE_MB) -> bool:
    """Whether this process cannot have so much more RAM; it is asked for, but not used, which takes microseconds.

    Libraries fail in many ways where they find none, imports that miss a name and threads that do not start among them.
    """
    try:
        mmap.mmap(-1, megabytes << 20, access=mmap.ACCESS_COPY).close()
    except (OSError, MemoryError):
        return True
    return False


class YoloslimError(Exception):
    """Base of every error this project raises on purpose; the front doors print it without a traceback."""


class ConfigError(YoloslimError):
    """A value in params.yaml, or on a command line, is unknown or out of range."""


class DataError(YoloslimError):
    """Images, annotations, archives or image sets that cannot be used."""


class ModelError(YoloslimError):
    """A model file or architecture that cannot be built, read or matched."""


class WeightsError(ModelError):
    """A weights file of another program that is damaged, hostile, or does not fit the model."""


class TraceError(YoloslimError):
    """A network holds an operation whose effect on channels is not understood."""


class PruneError(YoloslimError):
    """A pruning request that cannot be met, or a cut that failed its certificate."""


class OutOfReachError(PruneError):
    """A target that is below what the floors, such as `layer_keep`, leave of a network."""


class TrainError(YoloslimError):
    """Training that cannot go on: non-finite loss, collapse, no memory."""


class Interrupted(YoloslimError):
    """A training that stopped because it was asked to."""

    def __init__(self, signal: int, place: str, resumable: bool = True) -> None:
        """Say where it stopped; `exit_code` is what a shell expects of a process that this signal has ended."""
        self.exit_code = 128 + signal
        advice = "give the same command again to go on from there" if resumable else "no checkpoint was asked for"
        super().__init__(f"stopped {place}; {advice}")


class DeployError(YoloslimError):
    """Export, compilation or a device that failed."""


class TrackingError(YoloslimError):
    """A tracking server that cannot be reached or refuses."""


class SweepError(YoloslimError):
    """A sweep that cannot start or go on; what it finished is kept."""
