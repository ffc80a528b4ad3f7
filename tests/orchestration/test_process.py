import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from yoloslim.orchestration.leases import ALL, lease
from yoloslim.orchestration.process import CommandError, start_over, stop_all, stream


@pytest.fixture
def starts_over() -> Iterator[None]:
    yield
    start_over()


def test_stream_passes_lines_on_in_order() -> None:
    lines: list[str] = []
    stream([sys.executable, "-c", "print('one'); print('two')"], lines.append, Path())
    assert lines == ["one", "two"]


def test_stream_names_command_status_and_last_line_of_a_failure() -> None:
    command = [sys.executable, "-c", "import sys; print('no space left'); sys.exit(3)"]
    with pytest.raises(CommandError, match=r"ended with status 3: no space left"):
        stream(command, lambda line: None, Path())


@pytest.mark.usefixtures("starts_over")
def test_what_waits_for_a_device_never_starts_once_all_is_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else it has the device of what was stopped, and the command that was interrupted lives on for its sake."""
    said: list[str] = []
    # jobs in the background ignore Ctrl-C, and so would what they start
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    sleep = f"{hear}; import time; print('at work', flush=True); time.sleep(600)"

    def train(count: int) -> None:
        try:
            with lease(count, slots=2, folder=tmp_path) as held:
                stream([sys.executable, "-c", sleep], said.append, tmp_path, fds=held.fds)
        except CommandError as error:
            said.append(str(error))

    threads = [threading.Thread(target=train, args=(count,), daemon=True) for count in (1, ALL, 1)]
    with caplog.at_level("INFO"):
        threads[0].start()
        until(lambda: "at work" in said)
        threads[1].start()  # waits for the first
        until(lambda: "waiting for a free device" in caplog.text)
        threads[2].start()  # waits for its turn to look for a device
        time.sleep(0.5)
        stop_all()
    for thread in threads:
        thread.join(60)
    assert said.count("at work") == 1
    assert [line for line in said if line.endswith("ended with status -2: KeyboardInterrupt")]
    assert sum(line.startswith("stopped ") for line in said) == 2
    with pytest.raises(CommandError, match="stopped before it began"):
        stream([sys.executable, "-c", "print(1)"], said.append, tmp_path)
    start_over()
    stream([sys.executable, "-c", "print('again')"], said.append, tmp_path)
    assert said[-1] == "again"


def until(happened: Callable[[], bool]) -> None:
    """Wait for it, as long as a slow machine takes."""
    deadline = time.monotonic() + 600
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)
