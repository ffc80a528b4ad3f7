"""A FAKE of the MindX SDK's `StreamManagerApi`: no Ascend chip takes part, and the model is not run.

It obeys the documented contract, so that its caller can be tested: names and pipelines are bytes, calls give 0 or a
code, results come by the number that sending gave, each once, and lack `MxpiObject` when nothing was found. What it
"finds" is the bright rectangle of a picture, class 1, score 0.9. FAKE_MINDX chooses a fault: `init`, `create`, `send`,
`result` or `class` (one that the model does not have).
"""

import io
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

FAULT = os.environ.get("FAKE_MINDX", "")


class MxDataInput:
    """What is sent."""

    data: bytes = b""


class StreamManagerApi:
    """As the SDK's."""

    def __init__(self) -> None:
        self._ready, self._streams, self._results = False, dict[bytes, Any](), dict[tuple[bytes, int], bytes]()
        self._sent = 0

    def InitManager(self) -> int:
        self._ready = True
        return 1 if FAULT == "init" else 0

    def CreateMultipleStreams(self, pipelines: bytes) -> int:
        assert self._ready
        assert isinstance(pipelines, bytes)
        for name, stream in json.loads(pipelines).items():
            properties = [element.get("props", {}) for key, element in stream.items() if key != "stream_config"]
            files = [
                v for p in properties for k, v in p.items() if k in ("modelPath", "labelPath", "postProcessConfigPath")
            ]
            assert len(files) == 3
            if FAULT == "create" or not all(Path(file).is_file() for file in files):
                return 1001
            self._streams[name.encode()] = stream
        return 0

    def SendDataWithUniqueId(self, stream: bytes, element: int, data: MxDataInput) -> int:
        assert element == 0
        assert stream in self._streams
        if FAULT == "send":
            return -1
        self._sent += 1
        self._results[stream, self._sent] = json.dumps(_bright(data.data)).encode()
        return self._sent

    def GetResultWithUniqueId(self, stream: bytes, number: int, timeout_ms: int) -> SimpleNamespace:
        assert timeout_ms > 0
        if FAULT == "result":
            return SimpleNamespace(errorCode=1005, data=b"timeout")
        return SimpleNamespace(errorCode=0, data=self._results.pop((stream, number)))

    def DestroyAllStreams(self) -> None:
        self._streams.clear()


def _bright(jpeg: bytes) -> dict[str, Any]:
    rows, columns = np.nonzero(np.array(Image.open(io.BytesIO(jpeg)).convert("L")) > 128)
    if not len(rows):
        return {}
    box = {"x0": columns.min() - 0.5, "y0": rows.min(), "x1": columns.max() + 1, "y1": rows.max() + 1}
    label = 9 if FAULT == "class" else 1
    of_class = {"classId": label, "className": "b", "confidence": 0.9, "headerVec": []}
    return {"MxpiObject": [{**{side: float(value) for side, value in box.items()}, "classVec": [of_class]}]}
