"""A real OpenSSH server on localhost for tests: its own port, host key, user key and home, and a proxy that can cut.

`~` for asyncssh is a temporary folder with `known_hosts`, `config` and the key. What would be CANN's set_env.sh puts
this Python, the library's path and the fake `acl` into the environment.
"""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from yoloslim.deploy.board.target import SshTarget

FAKES = Path(__file__).parents[2] / "runner" / "fakes"
SRC = Path(__file__).parents[3] / "src"


class Server:
    """A running sshd, the client's home, and a folder for runs."""

    def __init__(self, root: Path, port: int) -> None:
        self.root, self.port = root, port
        self.home, self.runs = root / "home", root / "runs"

    def target(self, port: int | None = None, folder: Path | None = None) -> SshTarget:
        return SshTarget("127.0.0.1", getpass.getuser(), port or self.port, str(folder or self.runs))

    def set_env(self, *lines: str, acl: bool = True) -> str:
        """A script as CANN's installer leaves one; `lines` are further shell lines."""
        path = self.root / "set_env.sh"
        paths = [str(SRC), *([str(FAKES)] if acl else [])]
        path.write_text(
            f'echo "some chatter"\nexport PATH="{Path(sys.executable).parent}:$PATH"\n'
            f'export PYTHONPATH="{os.pathsep.join(paths)}"\n' + "".join(f"{line}\n" for line in lines)
        )
        return str(path)

    def python(self, acl: bool = True) -> str:
        """An interpreter as a maker's Python is one, for boards whose environment no script brings."""
        path = self.root / "python"
        path.write_text(f'#!/bin/bash\nsource "{self.set_env(acl=acl)}"\nexec python "$@"\n')
        path.chmod(0o755)
        return str(path)

    def folders(self) -> list[Path]:
        return sorted(path for path in self.runs.glob("*") if path.name != "probe")


@contextlib.contextmanager
def serve(root: Path, sftp: str | None = None) -> Iterator[Server]:
    """Start sshd, or skip the test with the reason; `sftp` is its line about file transfer, None for one that works."""
    program = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if program is None or shutil.which("ssh-keygen") is None:
        pytest.skip("sshd is not installed: `make debian-packages`, or apt-get install openssh-server")
    server = Server(root, free_port())
    ssh = server.home / ".ssh"
    ssh.mkdir(parents=True)
    server.runs.mkdir()
    for path in (root / "host_key", ssh / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    shutil.copy(ssh / "id_ed25519.pub", root / "authorized_keys")
    host = " ".join((root / "host_key.pub").read_text().split()[:2])
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {host}\n")
    config = root / "sshd_config"
    places = ("/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server")
    program_sftp = next((place for place in places if Path(place).exists()), "internal-sftp")
    config.write_text(
        f"Port {server.port}\nListenAddress 127.0.0.1\nHostKey {root}/host_key\nPidFile {root}/pid\n"
        f"AuthorizedKeysFile {root}/authorized_keys\nStrictModes no\nPasswordAuthentication no\nUsePAM no\n"
        f"KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        + (f"Subsystem sftp {program_sftp}\n" if sftp is None else sftp)
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where its Debian build wants to change root to
    log = (root / "log").open("wb")
    process = subprocess.Popen([program, "-D", "-e", "-f", str(config)], stdout=log, stderr=log)
    try:
        _wait(server.port, process, root / "log")
        yield server
    finally:
        process.terminate()
        process.wait()
        log.close()


class Cutter:
    """A TCP proxy before a server that breaks the connection after so many bytes, again and again if asked to."""

    def __init__(self, port: int, cuts: list[int]) -> None:
        self.cuts, self.connections = list(cuts), 0
        self._to = port
        self._open: list[socket.socket] = []
        self.port = 0
        self._listen()

    def close(self) -> None:
        """Refuse connections from now on."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes who waits for one
        self._socket.close()

    def refuse(self, until: Callable[[], bool]) -> None:
        """Break all connections there are and refuse others for a while, as a board does that starts again."""

        def come_back() -> None:
            deadline = time.monotonic() + 120
            while not until() and time.monotonic() < deadline:
                time.sleep(0.01)
            self._listen()

        self.close()
        self.cut_now()
        threading.Thread(target=come_back, daemon=True).start()

    def cut_now(self) -> None:
        """Break all connections there are."""
        for side in self._open:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", self.port))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, args=(self._socket,), daemon=True).start()

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            self.connections += 1
            limit = self.cuts.pop(0) if self.cuts else None
            upstream = socket.create_connection(("127.0.0.1", self._to))
            self._open += [client, upstream]
            for pair in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pump, args=(*pair, limit), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket, limit: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                passed += len(data)
                if limit is not None and passed > limit:
                    break
                target.sendall(data)
        for side in (source, target):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
                side.close()


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.skip(f"sshd does not start here: {log.read_text().strip()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    pytest.fail("sshd does not listen")
