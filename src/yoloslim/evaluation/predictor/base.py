"""What evaluation needs of a runtime, and what all runtimes of exported graphs share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from yoloslim.cores import thread_count
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import Floats
from yoloslim.heads import Head

Images = NDArray[np.uint8]
Preprocess = Callable[[Images], NDArray[Any]]
"""Maps images (B, S, S, 3) to what the network takes, usually float32 (B, 3, S, S)."""


class Geometry(Protocol):
    """What turns raw outputs into boxes with names.

    Attributes:
        head: what gives them.
        classes: names in the order of the outputs.
        imgsz: side of the images in pixels.
    """

    @property
    def head(self) -> Head: ...  # noqa: D102
    @property
    def classes(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def imgsz(self) -> int: ...  # noqa: D102


class Predictor(Geometry, Protocol):
    """What evaluation and speed measurement need of a runtime.

    Attributes:
        backend: runtime, device and precision that every number is labelled with, such as `onnxruntime-cpu`.
        preprocessing: how bytes become network input, such as `float/255`.
    """

    @property
    def backend(self) -> str: ...  # noqa: D102
    @property
    def preprocessing(self) -> str: ...  # noqa: D102

    def predict(self, images: Images) -> list[Floats]:
        """Raw outputs (B, ...) by level, finest first, as `Head.outputs` says, of RGB images uint8 (B, S, S, 3).

        Raises:
            DeployError: the images have another type or size than the model takes.
        """
        ...

    def set_threads(self, threads: int) -> None:
        """Use this many CPU threads from now on."""
        ...


class GraphDescription(Geometry, Protocol):
    """What must be known of an exported graph to run it; `deploy.manifest.Manifest` is one."""

    @property
    def input_name(self) -> str: ...  # noqa: D102
    @property
    def head_names(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def precision(self) -> str: ...  # noqa: D102


def divide_by_255(images: Images) -> Floats:
    """Images (B, S, S, 3) as contiguous float32 (B, 3, S, S) in [0, 1]."""
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return np.divide(planes, np.float32(255), dtype=np.float32)


def to_numpy(output: Any) -> Floats:
    """An output, an array or a tensor, as a contiguous float32 array, whatever device or precision it came from."""
    if not isinstance(output, np.ndarray):
        output = output.detach().float().cpu().numpy()
    return np.ascontiguousarray(output, np.float32)


def check_images(images: Images, imgsz: int, backend: str, stride: int | None = None) -> None:
    """Refuse images that a model would misread.

    Args:
        images: what came.
        imgsz: side of the model's input, px.
        backend: for the message.
        stride: of a model that takes smaller images too, with sides of a multiple of it.

    Raises:
        DeployError: not uint8 (B, imgsz, imgsz, 3) with B at least 1, nor smaller where that is allowed.
    """
    if not isinstance(images, np.ndarray):
        kind = type(images).__name__
        raise DeployError(f"the {backend} model takes an array uint8 (batch, {imgsz}, {imgsz}, 3), not a {kind}")
    fits = images.dtype == np.uint8 and images.ndim == 4 and len(images) > 0 and images.shape[3] == 3
    sides = images.shape[1:3]
    if fits and (sides == (imgsz, imgsz) or (stride and all(s % stride == 0 and 0 < s <= imgsz for s in sides))):
        return
    raise DeployError(
        f"the {backend} model takes uint8 images (batch, {imgsz}, {imgsz}, 3), not {images.dtype} "
        f"{images.shape}; letterbox them to {imgsz} px, or export the model for their size"
    )


class GraphPredictor(ABC):
    """An exported graph in some runtime: loading, checks and batches are alike, only running differs.

    A runtime sets `batch` when it loads: how many images the graph takes at once, None for any number.
    """

    runtime: str
    batch: int | None = 1
    concurrent = False
    """Whether `predict` may be called from several threads at once."""

    def __init__(
        self,
        path: Path,
        graph: GraphDescription,
        threads: int | None = None,
        preprocess: Preprocess = divide_by_255,
        preprocessing: str = "float/255",
    ) -> None:
        """Load the graph.

        Args:
            path: its file.
            graph: names and geometry, usually its manifest.
            threads: CPU threads; None takes OMP_NUM_THREADS, else all cores that this process may use.
            preprocess: what stands between bytes and network.
            preprocessing: its name, for the results.

        Raises:
            DeployError: the runtime is not installed, cannot read the file, or the file does not match its
                description.
        """
        self.path, self.graph = path.absolute(), graph  # it is loaded again, perhaps from another folder
        self.preprocess, self.preprocessing = preprocess, preprocessing
        self.backend = self.runtime + ("" if graph.precision == "fp32" else f"-{graph.precision}")
        self.head, self.classes, self.imgsz = graph.head, graph.classes, graph.imgsz
        self.threads = threads or thread_count(0, "threads")
        if not path.is_file():
            raise self.cannot_load("there is no such file; export the model again (`yoloslim export`)")
        self.load()

    def predict(self, images: Images) -> list[Floats]:
        """See `Predictor.predict`. Where the graph's batch is fixed, images go in portions, the last one padded."""
        check_images(images, self.imgsz, self.backend)
        most = self.batch or len(images)
        portions = [self._portion(images[start : start + most]) for start in range(0, len(images), most)]
        return portions[0] if len(portions) == 1 else [_joined(level) for level in zip(*portions, strict=True)]

    def set_threads(self, threads: int) -> None:
        """See `Predictor.set_threads`; runtimes fix it when they load a graph, so this loads it again."""
        if threads != self.threads:
            self.threads = threads
            self.load()

    @abstractmethod
    def load(self) -> None:
        """Read the graph for `threads` threads."""

    @abstractmethod
    def run(self, batch: NDArray[Any]) -> list[Floats]:
        """Heads of preprocessed images, in the order of `graph.head_names`."""

    def batch_for(self, count: int) -> int:
        """How many images the graph is given for `count` of them, which is at most `batch`."""
        return self.batch or count

    def _portion(self, images: Images) -> list[Floats]:
        count = len(images)
        empty = self.batch_for(count) - count
        if empty:
            images = np.concatenate([images, np.zeros((empty, *images.shape[1:]), np.uint8)])
        return [head[:count] for head in self.run(self.preprocess(images))]

    def cannot_load(self, reason: object) -> DeployError:
        """The error for a file that the runtime refuses."""
        return DeployError(f"{self.runtime} cannot load {self.path}: {reason}")

    def check_graph(self, inputs: Mapping[str, Sequence[int | None]], outputs: set[str]) -> None:
        """Make sure that a loaded graph is the one described, and note its batch.

        Args:
            inputs: name -> shape, None where a side is open.
            outputs: their names.

        Raises:
            DeployError: a name is missing, or the input has another size than described.
        """
        name = self.graph.input_name
        missing = ({name} - set(inputs)) | (set(self.graph.head_names) - outputs)
        if missing:
            raise DeployError(
                f"{self.path} lacks {', '.join(sorted(missing))}; it has inputs {sorted(inputs)} and outputs "
                f"{sorted(outputs)}: does the manifest belong to this file?"
            )
        batch, *sides = inputs[name]
        wanted = (3, self.imgsz, self.imgsz)
        if len(sides) != 3 or any(side not in (want, None) for side, want in zip(sides, wanted, strict=True)):
            raise DeployError(
                f"{self.path} takes images {[batch, *sides]}, its manifest says {wanted}; export it again at "
                f"{self.imgsz} px, or use the manifest that was written with it"
            )
        self.batch = batch


def _joined(level: Sequence[Floats]) -> Floats:
    """Outputs (B, ...) of portions, one behind the other; shorter lists of detections are filled up with zeros."""
    longest = max(each.shape[1] for each in level)
    return np.concatenate(
        [np.pad(each, [(0, 0), (0, longest - each.shape[1]), *[(0, 0)] * (each.ndim - 2)]) for each in level]
    )
