"""The runner's side of a job over SSH."""

import fcntl
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from yoloslim.runner import job
from yoloslim.runner.errors import RunnerError
from yoloslim.runner.job import RESULTS, encode_line, run_job

IMAGES = ["a", "b", "c", "d"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job that another runner works on; patience is 0.6 s."""
    asked = {"images": IMAGES, "files": {}, "backend": "acl", "chunks": [], "threads": 1, "warmup": 0}
    (tmp_path / "job.json").write_text(json.dumps(asked))
    monkeypatch.setenv("YOLOSLIM_LOCK_WAIT_S", "0.6")
    return tmp_path


def test_a_runner_that_still_works_is_waited_for_and_its_progress_told(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        seconds, left = 0.0, list(IMAGES)

        def work(_: float) -> None:
            """While the one that waits sleeps: an image each time, longer in all than anybody waits for one."""
            nonlocal seconds
            seconds += 0.35
            if not left:
                fcntl.flock(lock, fcntl.LOCK_UN)
                return
            with (folder / RESULTS).open("ab") as out:
                out.write(encode_line({"id": left.pop(0)}))

        monkeypatch.setattr(job, "time", SimpleNamespace(monotonic=lambda: seconds, sleep=work))
        run_job(folder)
    messages = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [message for message in messages if "done" in message] == [
        *({"done": number, "of": 4} for number in (1, 2, 3, 4)),
        {"done": 4, "of": 4},
    ]
    assert messages[-1]["finished"]["computed"] == 0


def test_a_runner_that_gets_no_further_is_named(folder: Path) -> None:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunnerError, match="gets no further: stop it"):
            run_job(folder)
