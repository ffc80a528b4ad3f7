"""Evaluation of ready-made pixels, as a desk asks for it over SSH: may be stopped at any moment and goes on later.

The folder holds the bundle, `job.json` and chunks of images; every finished image is one line of `results.txt`, led by
a checksum of the line, so that a line that was cut short by a crash or a full disk is noticed and done again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from . import suppression
from .errors import RunnerError
from .model import LABELS, check_files, load_bundle, open_session
from .tasks import peak_memory_mb

RESULTS = "results.txt"
_LOCK_WAIT_S = 60.0
_PROGRESS_S = 0.5
_POLL_S = 0.2


def run_job(folder: Path) -> None:
    """Do what is not done yet of `folder/job.json`, saying how far it is in lines of JSON on standard output.

    The last line is `{"finished": {...}}` with the number of lines of `results.txt` and its sha256.

    Raises:
        RunnerError: whatever stands in the way.
    """
    job = _read_job(folder / "job.json")
    check_files(folder, job["files"])
    with _alone(folder, len(job["images"])):
        path = folder / RESULTS
        done = _keep_whole_lines(path)
        todo = [name for name in job["images"] if name not in done]
        say(done=len(done), of=len(job["images"]))
        if todo:
            _run(folder, job, set(todo), len(done))
        data = path.read_bytes()
        lines = data.count(b"\n")
        digest = hashlib.sha256(data).hexdigest()
        say(
            finished={
                "lines": lines,
                "sha256": digest,
                "backend": LABELS[job["backend"]],
                "computed": len(todo),
                "peak_memory_mb": peak_memory_mb(),
            }
        )


def _read_job(path: Path) -> dict[str, Any]:
    """What the desk wants.

    Raises:
        RunnerError: it cannot be read, or something is missing in it.
    """
    kinds = {"files": dict, "images": list, "chunks": list, "backend": str, "threads": int, "warmup": int}
    try:
        job = json.loads(path.read_text(encoding="utf-8"))
        wrong = [name for name, kind in kinds.items() if not isinstance(job[name], kind)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunnerError("job", f"{path} cannot be read ({type(error).__name__}): send the job again") from error
    if wrong or job["backend"] not in LABELS:
        what = (*wrong, "backend")[0]
        raise RunnerError("job", f"{path}: {what} is not what it should be: send the job again")
    return job  # type: ignore[no-any-return]


def say(**message: Any) -> None:
    """One line of JSON to whoever started this."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def encode_line(record: dict[str, Any]) -> bytes:
    """A record as a line of the results."""
    text = json.dumps(record, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode_line(line: bytes) -> dict[str, Any] | None:
    """The record of a line, or None if it is not whole."""
    check, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or check != b"%08x" % zlib.crc32(text):
        return None
    return json.loads(text.decode())  # type: ignore[no-any-return]


def _run(folder: Path, job: dict[str, Any], todo: set[str], done: int) -> None:
    bundle, total = load_bundle(folder), len(job["images"])
    session = open_session(folder, bundle, job["backend"], job["threads"])
    said = time.monotonic()
    try:
        with (folder / RESULTS).open("ab", buffering=0) as out:  # a buffer would fail once more when it is closed
            first = True
            for name, pixels in _pixels(folder, job, todo):
                for _ in range(job["warmup"] if first else 0):
                    session.infer(pixels)
                first = False
                start = time.perf_counter()
                heads = session.infer(pixels)
                middle = time.perf_counter()
                rows = suppression.find(heads, bundle, job["options"])
                end = time.perf_counter()
                ms = [round(1e3 * (middle - start), 4), round(1e3 * (end - middle), 4)]
                values = [[float(f"{v:.7g}") for v in row] for row in rows.tolist()]
                _append(out, encode_line({"id": name, "ms": ms, "detections": values}))
                done += 1
                if time.monotonic() - said > _PROGRESS_S:
                    said = time.monotonic()
                    say(done=done, of=total)
    finally:
        session.close()


def _append(out: FileIO, line: bytes) -> None:
    try:
        while line:
            line = line[out.write(line) :]
    except OSError as error:
        raise RunnerError("disk", f"cannot write {RESULTS}: {error.strerror}; free some space and run again") from error


def _pixels(folder: Path, job: dict[str, Any], todo: set[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Names and pixels (1, ...) of the images still to do; chunks that are done are not even opened."""
    for chunk in job["chunks"]:
        if todo.intersection(chunk["images"]):
            stored = np.load(str(folder / chunk["file"]), mmap_mode="r", allow_pickle=False)
            for i, name in enumerate(chunk["images"]):
                if name in todo:
                    yield name, np.array(stored[i : i + 1])


def _keep_whole_lines(path: Path) -> set[str]:
    """Names of the images that are done; what follows the last whole line is cut off."""
    done, end = set(), 0
    with path.open("ab+") as stream:
        stream.seek(0)
        for line in stream:
            record = decode_line(line)
            if record is None:
                break
            done.add(record["id"])
            end += len(line)
        stream.truncate(end)
    return done


@contextmanager
def _alone(folder: Path, total: int) -> Iterator[None]:
    """Wait for a runner that lives on after its connection was lost, as long as it gets on: it is doing our work."""
    patience = float(os.environ.get("YOLOSLIM_LOCK_WAIT_S", _LOCK_WAIT_S))
    with (folder / ".lock").open("w") as lock, (folder / RESULTS).open("ab+", buffering=0) as results:
        results.seek(0)
        done, deadline = 0, time.monotonic() + patience
        while not _locked(lock):
            grown = results.read().count(b"\n")
            if grown:
                done, deadline = done + grown, time.monotonic() + patience
                say(done=done, of=total)
            elif time.monotonic() > deadline:
                raise RunnerError(
                    "busy", f"another runner works in {folder} and gets no further: stop it, or try later"
                )
            time.sleep(_POLL_S)
        yield


def _locked(stream: TextIO) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
