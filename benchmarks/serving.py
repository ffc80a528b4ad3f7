"""How long the champion that `mlflow models serve` serves takes to its first answer, and to each one then.

    python -m benchmarks.serving --checkout FOLDER

FOLDER is a checkout in which a sweep has chosen a champion. The command is typed as docs/results.md prints it, and test
images are sent as they lie in files, one after the other. The same in one process, without HTTP, stands beside it.
"""

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

SERVE = "mlflow models serve --model-uri models:/yoloslim@champion --env-manager local --port 5001"
ADDRESS = "http://127.0.0.1:5001"
PATIENCE_S = 600


@contextmanager
def served(folder: Path, environment: Mapping[str, str]) -> Iterator[float]:
    """Serve the champion of a project's MLflow; yields the seconds until the server says that it is ready.

    Raises:
        RuntimeError: it ended before, or another server has the port.
    """
    if _is_ready():
        raise RuntimeError(f"something answers at {ADDRESS} already")
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            SERVE.split(), cwd=folder, env=dict(environment), stdout=log, stderr=log, start_new_session=True
        )
        try:
            while not _is_ready():
                if process.poll() is not None or time.perf_counter() - start > PATIENCE_S:
                    log.seek(0)
                    raise RuntimeError(log.read())
                time.sleep(0.05)
            yield time.perf_counter() - start
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _is_ready() -> bool:
    try:
        with urllib.request.urlopen(f"{ADDRESS}/ping", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def ask(pictures: Sequence[bytes], conf: float) -> list[dict[str, Any]]:
    """Boxes of pictures, sent in one request."""
    records = [{"image": base64.b64encode(picture).decode()} for picture in pictures]
    content = json.dumps({"dataframe_records": records, "params": {"conf": conf}}).encode()
    request = urllib.request.Request(f"{ADDRESS}/invocations", content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: list[dict[str, Any]] = json.load(answer)["predictions"]
    return found


def timed(work: Callable[[Any], Any], inputs: Sequence[Any], rounds: int) -> str:
    """Median and spread of a call, in milliseconds; a tenth of the calls comes before, unmeasured."""
    taken = []
    for number in range(-(rounds // 10), rounds):
        start = time.perf_counter()
        work(inputs[number % len(inputs)])
        taken += [1000 * (time.perf_counter() - start)] if number >= 0 else []
    low, median, high = np.percentile(taken, (5, 50, 95))
    return f"median {median:.1f} ms, 5 to 95 % of {rounds}: {low:.1f} to {high:.1f} ms"


def main() -> None:
    """Start the server, ask it, ask the model without it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--checkout", type=Path, default=Path(), help="where a sweep has ended")
    parser.add_argument("--requests", type=int, default=1000)
    arguments = parser.parse_args()
    checkout = arguments.checkout.resolve()
    os.chdir(checkout)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    names = (checkout / "data/voc/ImageSets/Main/test.txt").read_text().split()
    pictures = [next((checkout / "data/voc/JPEGImages").glob(f"{name}.*")).read_bytes() for name in names]
    start = time.perf_counter()
    with served(checkout, environment) as ready:
        found = len(ask(pictures[:1], 0.25))
        print(f"{SERVE}\nready after {ready:.1f} s, {found} boxes after {time.perf_counter() - start:.1f} s")
        for size in (1, 8):
            batches = [pictures[at : at + size] for at in range(0, len(pictures) - size + 1, size)]
            print(f"{size} in a request: {timed(lambda batch: ask(batch, 0.25), batches, arguments.requests // size)}")
    import mlflow
    import pandas as pd

    detector = mlflow.pyfunc.load_model("models:/yoloslim@champion")
    tables = [pd.DataFrame({"image": [picture]}) for picture in pictures]
    print(f"without HTTP: {timed(detector.predict, tables, arguments.requests)}")
    mean = np.mean([len(picture) for picture in pictures])
    print(f"{len(pictures)} pictures of {mean / 1000:.0f} kB on average, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
