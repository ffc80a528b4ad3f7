"""The runner's side of a job over SSH."""

import fcntl
import json
import threading
import time
from pathlib import Path

import pytest

from yoloslim.runner.errors import RunnerError
from yoloslim.runner.job import RESULTS, encode_line, run_job

IMAGES = ["a", "b", "c", "d"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job that another runner works on; patience is 0.6 s."""
    job = {"images": IMAGES, "files": {}, "backend": "acl", "chunks": [], "threads": 1, "warmup": 0}
    (tmp_path / "job.json").write_text(json.dumps(job))
    monkeypatch.setenv("YOLOSLIM_LOCK_WAIT_S", "0.6")
    return tmp_path


def test_a_runner_that_still_works_is_waited_for_and_its_progress_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def work() -> None:
            for name in IMAGES:  # longer in all than anybody waits for one
                time.sleep(0.35)
                with (folder / RESULTS).open("ab") as out:
                    out.write(encode_line({"id": name}))
            fcntl.flock(lock, fcntl.LOCK_UN)

        worker = threading.Thread(target=work)
        worker.start()
        run_job(folder)
        worker.join()
    messages = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"done": 1, "of": 4} in messages
    assert {"done": 2, "of": 4} in messages
    assert messages[-1]["finished"]["computed"] == 0


def test_a_runner_that_gets_no_further_is_named(folder: Path) -> None:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunnerError, match="gets no further: stop it"):
            run_job(folder)
