"""A Prefect server for the time of a sweep, where none is set.

Prefect's own temporary server is waited for to the end of its patience when it is dead, and lives on when the process
that started it is killed. This one takes a free port itself, says it once it answers, and ends with its parent, however
that ends: its standard input is a pipe that only the parent holds open.
"""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from yoloslim.within import within

PATIENCE_S = 120.0
"""How long it may take to start on a busy machine."""
ANSWER_S = 12.0
"""How long a server that is set may take to answer once."""
AWAY_S = 3.0
"""After how long a server that was there counts as away when it says nothing."""
ENDING_S = 10.0
"""How long it may take to end."""
QUIET = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
"""No word to Prefect's makers."""
EPHEMERAL = QUIET | {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
"""What Prefect sets for its own temporary server, which has no page and starts nothing at its time."""


class AwayError(RuntimeError):
    """The server that PREFECT_API_URL names does not answer."""


@contextmanager
def prefect_server(*, schedules: bool = False) -> Iterator[None]:
    """A Prefect server that other processes can reach: the one that is set, else one for the time.

    Args:
        schedules: one for the time starts what is due, and has a page.

    Raises:
        RuntimeError: it ended before it answered, or does not answer in time.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings  # seconds

    if url := PREFECT_API_URL.value():
        expect_answer(url)
        yield
        return
    with _running(PREFECT_HOME.value() / "server.log", QUIET if schedules else EPHEMERAL) as port:
        url = f"http://127.0.0.1:{port}/api"
        os.environ["PREFECT_API_URL"] = url  # for workers in other processes
        try:
            with temporary_settings({PREFECT_API_URL: url}):
                yield
        finally:
            del os.environ["PREFECT_API_URL"]


def expect_answer(url: str) -> None:
    """Refuse a server that is away or drips: Prefect's client waits for every next byte of it.

    Raises:
        AwayError: it does not answer in time.
    """
    import httpx

    try:
        within(ANSWER_S, httpx.get, f"{url}/health", timeout=ANSWER_S)
    except (httpx.HTTPError, TimeoutError) as error:
        why = f": {error}" if isinstance(error, httpx.HTTPError) else ""
        raise AwayError(f"no answer within {ANSWER_S:.0f} s{why}") from error


def is_away() -> bool:
    """Whether no server answers, be it the one that is set or the one for the time."""
    import httpx
    from prefect.settings import PREFECT_API_URL

    url = os.environ.get("PREFECT_API_URL") or PREFECT_API_URL.value()
    try:
        return not url or not within(AWAY_S, httpx.get, f"{url}/health", timeout=AWAY_S).is_success
    except (httpx.HTTPError, TimeoutError):
        return True


@contextmanager
def _running(log: Path, settings: Mapping[str, str] = EPHEMERAL) -> Iterator[int]:
    """The server's process, its complaints in a file; yields its port once it answers."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as complaints:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=os.environ | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C is the sweep's: Prefect notes how it ended
        )
    assert process.stdin
    assert process.stdout
    try:
        try:
            said = within(PATIENCE_S, process.stdout.readline)
        except TimeoutError:
            raise RuntimeError(f"its server did not answer within {PATIENCE_S:.0f} s, see {log}") from None
        if not said.strip().isdecimal():
            raise RuntimeError(f"its server ended with status {process.wait(ENDING_S)} before it answered, see {log}")
        yield int(said)
    finally:
        process.stdin.close()
        try:
            process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def serve() -> None:
    """Be the server: print the port once it answers, end at the end of the standard input."""
    gc.disable()  # until it answers: imports leave no garbage, and take a quarter less without the search for it
    import socket

    import uvicorn

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            gc.freeze()
            gc.enable()
            if self.started:
                print(bound.getsockname()[1], flush=True)
                os.dup2(2, 1)  # nobody reads on

    def end_with_parent() -> None:
        sys.stdin.read()
        server.should_exit = True
        threading.Event().wait(ENDING_S)
        os._exit(1)

    app = "prefect.server.api.server:create_app"
    config = uvicorn.Config(app, host="127.0.0.1", port=0, factory=True, log_level="error", lifespan="on")
    bound, server = config.bind_socket(), Announcing(config)
    os.environ["PREFECT_UI_API_URL"] = f"http://127.0.0.1:{bound.getsockname()[1]}/api"  # what its page asks
    threading.Thread(target=end_with_parent, daemon=True).start()
    server.run(sockets=[bound])


if __name__ == "__main__":
    serve()
