"""Work with a toolchain: a process in its environment that answers requests over pipes; see `programs.serve`."""

import json
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from yoloslim.errors import DeployError
from yoloslim.toolchains.base import MARK, Toolchain
from yoloslim.toolchains.borrowed import lost_packages
from yoloslim.toolchains.programs import serve

_TIMEOUT_S = 600.0
_LAST_LINES = 5
_STARTING = "starting"


class Session:
    """A running toolchain; closed at the end of a `with`, or when it is no longer used."""

    def __init__(self, toolchain: Toolchain, python: Path | None = None) -> None:
        """Start it.

        Args:
            toolchain: which.
            python: interpreter of an environment that is not finished yet; None takes the installed one.

        Raises:
            DeployError: it is not installed, is another version, or does not start.
        """
        self.toolchain = toolchain
        if python is None:
            check_installed(toolchain)
        self._place = tempfile.TemporaryDirectory()  # toolkits leave files where they stand
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        command = [str(python or toolchain.python), "-I", str(Path(serve.__file__)), str(toolchain.program())]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                cwd=self._place.name,
                start_new_session=True,
            )
        except OSError as error:
            raise DeployError(
                f"toolchain {toolchain.name} does not start ({error.strerror}); {toolchain.advice}"
            ) from error
        hello, _ = self._answer(_TIMEOUT_S, _STARTING)
        if hello.get("protocol") != serve.PROTOCOL or hello.get("version") != toolchain.version:
            self.close()
            raise DeployError(
                f"toolchain {toolchain.name} holds {toolchain.package} {hello.get('version')}, this yoloslim works "
                f"with {toolchain.version}; {toolchain.advice}"
            )

    def ask(
        self, do: str, arrays: Sequence[NDArray[Any]] = (), timeout_s: float = _TIMEOUT_S, **options: Any
    ) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        """Let it do something and wait.

        Args:
            do: a command of its program.
            arrays: what to send along.
            timeout_s: seconds after which it is stopped.
            options: of the command.

        Returns:
            What came of it, and arrays.

        Raises:
            DeployError: it refused, died, or took longer.
        """
        assert self._process.stdin is not None
        try:
            serve.write_message(self._process.stdin, {"do": do, "options": options}, arrays)
        except OSError as error:
            raise self._died(do) from error
        message, results = self._answer(timeout_s, do)
        if message.get("damaged"):
            raise DeployError(
                f"toolchain {self.toolchain.name} in {self.toolchain.folder} is damaged ({message['error']}): "
                f"{self.toolchain.advice}"
            )
        if "error" in message:
            raise DeployError(f"{self.toolchain.package} {self.toolchain.version}: {message['error']}")
        return message["done"], results

    def log(self) -> str:
        """All that it printed so far."""
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):  # what was not sent when it died
                stream.close()
        self._process.wait()
        self._place.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_process") and self._process.poll() is None:
            self.close()

    def _answer(self, timeout_s: float, what: str) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        assert self._process.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(timeout_s, stop)
        timer.start()
        try:
            answer = serve.read_message(self._process.stdout)
        except ValueError:  # cut short
            answer = None
        finally:
            timer.cancel()
        if late.is_set():
            raise DeployError(f"toolchain {self.toolchain.name} was stopped after {timeout_s:g} s ({what})")
        if answer is None:
            raise self._died(what)
        return answer

    def _died(self, what: str) -> DeployError:
        status = self._process.wait()
        last = " | ".join(self.log().strip().splitlines()[-_LAST_LINES:]) or "it printed nothing"
        advice = f"; {self.toolchain.advice}" if what == _STARTING else ""
        return DeployError(f"toolchain {self.toolchain.name} died (exit code {status}, {what}): {last}{advice}")


def check_installed(toolchain: Toolchain) -> None:
    """Make sure that a toolchain is there, as this version of yoloslim wants it.

    Raises:
        DeployError: it is not; names the command that installs it.
    """
    mark = toolchain.folder / MARK
    if not mark.is_file():
        raise DeployError(
            f"the toolchain {toolchain.name} ({toolchain.about}) is not installed: {toolchain.advice} "
            f"(needs {toolchain.disk_mb / 1000:.1f} GB of disk)"
        )
    try:
        pins = json.loads(mark.read_text(encoding="utf-8"))["pins"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeployError(f"{mark} cannot be read: {toolchain.advice}") from error
    if pins != toolchain.pins:
        raise DeployError(
            f"the toolchain {toolchain.name} in {toolchain.folder} was installed by another version of yoloslim, with "
            f"other packages: {toolchain.advice}"
        )
    lost = lost_packages(toolchain)
    if lost:
        raise DeployError(
            f"the toolchain {toolchain.name} in {toolchain.folder} borrowed {', '.join(lost)} from an installation of "
            f"yoloslim that is gone: {toolchain.advice}"
        )
