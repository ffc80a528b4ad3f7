"""Runs inside a toolchain: answers requests over standard input and output, one after the other.

    python serve.py run_something.py

A message is a line of JSON, followed by the arrays that it announces (`arrays`: type and shape of each) as plain
bytes. The first message says protocol and versions. A request names what to `do` and its `options`; the answer holds
either what came of it (`done`) or why nothing did (`error`). Only NumPy is needed besides what the work needs.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import sys
import traceback
from typing import IO, Any

import numpy as np

PROTOCOL = 1


def write_message(stream: IO[bytes], message: dict[str, Any], arrays: Any = ()) -> None:
    """A message and its arrays."""
    whole = [np.ascontiguousarray(array) for array in arrays]
    layout = [{"dtype": array.dtype.str, "shape": array.shape} for array in whole]
    stream.write(json.dumps({**message, "arrays": layout}).encode() + b"\n")
    for array in whole:
        stream.write(array.tobytes())
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[dict[str, Any], list[np.ndarray]] | None:
    """The next message and its arrays, None where there is none, or no whole one."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    message = json.loads(line)
    arrays = []
    for layout in message.pop("arrays"):
        dtype = np.dtype(layout["dtype"])
        if dtype.hasobject:
            raise ValueError("arrays hold numbers only")
        data = stream.read(dtype.itemsize * int(np.prod(layout["shape"], dtype=np.int64)))
        arrays.append(np.frombuffer(data, dtype).reshape(layout["shape"]))
    return message, arrays


def serve(program: Any, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until the requests end."""
    write_message(answers, {"protocol": PROTOCOL, "version": program.version()})
    while True:
        request = read_message(requests)
        if request is None:
            return
        message, arrays = request
        try:
            done, results = program.COMMANDS[message["do"]](arrays, **message["options"])
            sys.stdout.flush()
            ctypes.CDLL(None).fflush(None)  # what C++ printed belongs to the log before the answer
            write_message(answers, {"done": done}, results)
        except Exception as error:  # whatever it is, whoever asked wants to know
            if type(error).__name__ != "Refused":
                traceback.print_exc()
            damaged = isinstance(error, ImportError)  # the environment is at fault, not what was asked for
            write_message(answers, {"error": str(error) or type(error).__name__, "damaged": damaged})


def main() -> None:
    """Keep the pipe to ourselves: what libraries print, from C++ too, goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    spec = importlib.util.spec_from_file_location("program", sys.argv[1])
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    serve(program, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
