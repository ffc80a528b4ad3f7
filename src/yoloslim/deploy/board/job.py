"""A job for the runner: what is sent beside the bundle, what comes back, and how both are checked."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from yoloslim.data.evalset import Letterboxed
from yoloslim.deploy.ascend.aipp import device_input
from yoloslim.deploy.board.bundle import BUNDLE, RUNNER
from yoloslim.errors import DeployError
from yoloslim.evaluation.nms import NmsOptions
from yoloslim.files import read_json, sha256_file, write_json
from yoloslim.runner import job as protocol
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.model import COMPILED, load_bundle

Backend = Literal["acl", "rknnlite", "onnxruntime"]
Progress = Callable[[int, int], None]
"""Called with the number of images done and their total."""

CHUNK_BYTES = 32 << 20

_COMPILE = {
    "acl": "run the atc stage where atc is, or `bash atc.sh` there and name in ascend.compiled where you copied the "
    "folder back to",
    "rknnlite": "run the rknn stage, or yoloslim compile --target",
}

CHIP = {"acl": "atc.soc_version", "rknnlite": "rknn.target"}
"""Settings that name the chip to compile for."""


class DeviceUnavailableError(DeployError):
    """There is no device, or no way to it: nothing went wrong that asks for attention unless one was demanded."""


@dataclass(frozen=True)
class Job:
    """Files to send and the order in which to run them.

    Attributes:
        key: names the job by its content, so that the same job is found again and gone on with.
        files: name on the other side -> file here; what is small comes first.
        checksums: SHA-256 by name.
        images: ids in order.
    """

    key: str
    files: dict[str, Path]
    checksums: dict[str, str]
    images: tuple[str, ...]


@dataclass
class BoardRun:
    """What came back.

    Attributes:
        backend: what ran, as results are labelled.
        detections: (n, 6) of every image in order: `xyxy` in canvas pixels, score, class.
        inference_ms: milliseconds of every image on the device, copies included.
        postprocess_ms: milliseconds of decoding and suppression there.
        computed: images that the last attempt had to run; the others were done before the connection dropped.
        peak_memory_mb: of the runner.
        facts: what the probe found: versions, chip, devices.
    """

    backend: str
    detections: list[NDArray[np.float32]]
    inference_ms: NDArray[np.float64]
    postprocess_ms: NDArray[np.float64]
    computed: int
    peak_memory_mb: float
    facts: dict[str, Any] = field(default_factory=dict)


def prepare_job(
    bundle: Path,
    folder: Path,
    ids: Sequence[str],
    images: NDArray[np.uint8] | Letterboxed,
    options: NmsOptions,
    backend: Backend = "acl",
    warmup: int = 5,
    threads: int = 0,
    chunk_bytes: int = CHUNK_BYTES,
) -> Job:
    """Write chunks of pixels and `job.json` to `folder`.

    Args:
        bundle: what `compile_model` wrote.
        folder: for the files that only this job needs.
        ids: names of the images.
        images: letterboxed RGB (N, S, S, 3), as the bundle's manifest says; taken chunk by chunk.
        options: suppression, which runs on the other side.
        backend: what runs the model there; `onnxruntime` is for machines without a chip.
        warmup: runs of the first image before the clock starts.
        threads: of ONNX Runtime there; 0 takes all cores.
        chunk_bytes: size of a file of pixels, at most.

    Raises:
        DeployError: no bundle, one without a compiled model, or one whose names are not plain.
    """
    try:
        facts = load_bundle(bundle)
    except RunnerError as error:
        raise DeployError(str(error)) from error
    model = COMPILED.get(backend, facts["graph"])
    if model not in facts["files"]:
        raise DeployError(f"{bundle} holds no compiled model; {_COMPILE[backend]}")
    files = {name: bundle / name for name in (RUNNER, BUNDLE, model)}
    step = max(1, chunk_bytes // max(1, int(np.prod(images.shape[1:]))))
    chunks = []
    for start in range(0, len(ids), step):
        path = folder / f"pixels-{start // step:04}.npy"
        np.save(path, device_input(facts["aipp_input"], images[start : start + step]))
        files[path.name] = path
        chunks.append({"file": path.name, "images": list(ids[start : start + step])})
    checksums = {name: sha256_file(path) for name, path in files.items()}
    job = {
        "backend": backend,
        "threads": threads,
        "warmup": warmup,
        "options": asdict(options),
        "images": list(ids),
        "chunks": chunks,
        "files": checksums,
    }
    write_json(folder / "job.json", job)
    files["job.json"] = folder / "job.json"
    checksums = {**checksums, "job.json": sha256_file(files["job.json"])}
    key = hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:24]
    return Job(key, files, checksums, tuple(ids))


class Listener:
    """Reads what a runner says, line by line."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self.done = 0
        self.finished: dict[str, Any] | None = None
        self.probe: dict[str, Any] | None = None
        self.error: dict[str, str] | None = None

    def hear(self, line: str) -> None:
        """Take in a line; what is no message of the runner is ignored, since set_env.sh may print things."""
        try:
            message = json.loads(line)
        except ValueError:
            return
        if not isinstance(message, dict):
            return
        self.finished = message.get("finished", self.finished)
        self.probe = message.get("probe", self.probe)
        self.error = message.get("error", self.error)
        if "done" in message:
            self.done = int(message["done"])
            if self._progress:
                self._progress(self.done, int(message["of"]))


def read_run(data: bytes, finished: dict[str, Any], job: Job, facts: dict[str, Any]) -> BoardRun:
    """Check `results.txt` and turn it into arrays.

    Raises:
        DeployError: it is not what the runner wrote, or an image is missing.
    """
    if hashlib.sha256(data).hexdigest() != finished["sha256"]:
        raise DeployError("the results are not what the runner wrote: they changed on their way; run again")
    records = {}
    for line in data.splitlines(keepends=True):
        record = protocol.decode_line(line)
        if record is None:
            raise DeployError(f"a line of the results is damaged: {line[:60]!r}; run again")
        records[record["id"]] = record
    missing = [name for name in job.images if name not in records]
    if missing:
        raise DeployError(f"the results lack {len(missing)} of {len(job.images)} images, first {missing[0]!r}")
    rows = [np.array(records[name]["detections"], np.float32).reshape(-1, 6) for name in job.images]
    if not all(np.isfinite(row).all() for row in rows):
        raise DeployError(
            "the device gave boxes that are not finite: compile with atc.precision_mode=allow_fp32_to_fp16"
        )
    ms = np.array([records[name]["ms"] for name in job.images], np.float64).reshape(-1, 2)
    return BoardRun(
        finished["backend"], rows, ms[:, 0], ms[:, 1], finished["computed"], finished["peak_memory_mb"], facts
    )


def shortcoming(facts: dict[str, Any], backend: Backend) -> tuple[str, str]:
    """What keeps a machine from running a backend, and the way out; both empty where nothing does.

    Args:
        facts: what the probe found.
        backend: what is to run models there.
    """
    if backend == "acl" and facts["acl"] != "ok":
        way = "install the runtime, or name its set_env.sh in ascend.set_env"
        return f"no working CANN: {facts['acl']}", way
    if backend == "acl" and not facts["devices"]:
        return "CANN, but no Ascend device", "look at `npu-smi info`"
    if backend == "rknnlite" and facts["rknnlite"] != "ok":
        return f"no working rknnlite: {facts['rknnlite']}", "pip install rknn-toolkit-lite2"
    return "", ""


def check_facts(facts: dict[str, Any], to_send: int, bundle: Path, backend: Backend, where: str) -> None:
    """Refuse a machine that cannot run a job before anything large is sent.

    Args:
        facts: what the probe found.
        to_send: bytes that are not there yet.
        bundle: what the job was made from.
        backend: what is to run the model.
        where: the machine, for messages.

    Raises:
        DeployError: no runtime of the chip, no device, another chip, or too little room; names the way out.
    """
    fault, way = shortcoming(facts, backend)
    if fault:
        raise DeviceUnavailableError(f"{where} has {fault}; {way}")
    if backend in CHIP:
        wanted = read_json(bundle / BUNDLE)["soc_version"]
        if facts["chip"] and facts["chip"] != wanted:
            raise DeployError(
                f"{where} has an {facts['chip']}, the model was compiled for {wanted}: set {CHIP[backend]}="
                f"{facts['chip']} and compile again"
            )
    room = to_send + (16 << 20)
    if facts["free_bytes"] < room:
        raise DeployError(
            f"{where} has {facts['free_bytes'] / 1e6:.0f} MB of disk free, the job needs {room / 1e6:.0f} MB; make "
            "room there, or name a folder on a larger disk: ssh://user@host/folder"
        )
