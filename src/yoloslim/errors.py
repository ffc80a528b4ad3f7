"""Errors that a person can act on: each names the thing, the value and the way out."""

MEMORY_MESSAGES = ("can't allocate memory", "could not create a primitive", "Failed to allocate", "std::bad_alloc")
"""What PyTorch's allocator, oneDNN, OpenCV, ONNX Runtime and C++ say when there is no RAM left."""


def memory_ran_out(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, on a GPU or in RAM."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # PyTorch's; it takes seconds
        return True
    return any(text in str(error) for text in MEMORY_MESSAGES)


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
