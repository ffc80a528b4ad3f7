"""A job on a board over SSH: send what is missing, run, follow, bring back; a dropped connection costs no work."""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncssh

from yoloslim.deploy.board.bundle import RUNNER, write_runner
from yoloslim.deploy.board.connection import LostError, connect, open_sftp
from yoloslim.deploy.board.environment import source_named, source_set_env
from yoloslim.deploy.board.job import (
    Backend,
    BoardRun,
    DeviceUnavailableError,
    Job,
    Listener,
    Progress,
    check_facts,
    read_run,
)
from yoloslim.deploy.board.target import SshTarget
from yoloslim.deploy.quoting import quote
from yoloslim.errors import DeployError
from yoloslim.files import sha256_file
from yoloslim.runner.job import RESULTS

logger = logging.getLogger(__name__)

RETRIES = 5
"""Connections lost in a row, without an image or a file between them, before giving up."""

_BLOCK = 1 << 20


@dataclass
class Board:
    """How to work on a board.

    Attributes:
        target: which.
        set_env: script there that sets CANN's environment; empty tries the usual places, where there may be none.
        python: interpreter there.
        section: of params.yaml that names the board, for messages.
        pause_s: before the first reconnection; doubles with each.
    """

    target: SshTarget
    set_env: str = ""
    python: str = "python3"
    section: str = field(default="ascend", kw_only=True)
    pause_s: float = 1.0
    _finished: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def probe(self) -> dict[str, Any]:
        """What the board has: versions, acl, devices, chip, room. Nothing but an empty folder stays there.

        Raises:
            DeployError: it cannot be reached, or has no Python with numpy.
        """
        return asyncio.run(self._probe_alone())

    def run(self, job: Job, bundle: Path, backend: Backend = "acl", progress: Progress | None = None) -> BoardRun:
        """Run a job there and bring back what it found.

        The job's folder on the board stays, so that the same job goes on where it stopped, even if what it found got
        lost here; see `tidy`.

        Raises:
            DeployError: unknown host key, no key accepted, unreachable, no runtime of its chip, too little room,
                changed files, an error of the device, a runner that died, or more than `RETRIES` lost connections.
        """
        return asyncio.run(self._run(job, bundle, backend, progress))

    def tidy(self) -> None:
        """Remove the folders of the jobs that came to their end, once what they found is stored here.

        What cannot be removed is only said: what was asked for is here already.
        """
        if self._finished:
            asyncio.run(self._tidy())

    async def _tidy(self) -> None:
        try:
            async with connect(self.target, True) as connection:
                while self._finished:
                    await self._remove(connection, self._finished.pop())
        except (LostError, DeployError) as error:
            logger.warning("%s stays on %s (%s)", ", ".join(self._finished), self.target, error)

    async def _run(self, job: Job, bundle: Path, backend: Backend, progress: Progress | None) -> BoardRun:
        failures, state, pause = 0, (0, 0), self.pause_s
        listener, sent, reached = Listener(progress), [0], False
        while True:
            try:
                async with connect(self.target, reached) as connection:
                    reached = True
                    return await self._attempt(connection, job, bundle, backend, listener, sent)
            except LostError as error:
                now = (sent[0], listener.done)
                failures, pause = (1, self.pause_s) if now > state else (failures + 1, 2 * pause)
                state = max(now, state)
                if failures > RETRIES:
                    raise DeployError(
                        f"lost the connection to {self.target} {failures} times without getting any further ({error}); "
                        f"{listener.done} of {len(job.images)} images are done there, and the same command goes on"
                    ) from error
                logger.warning("lost the connection to %s (%s); trying again in %.0f s", self.target, error, pause)
                await asyncio.sleep(pause)

    async def _attempt(
        self,
        connection: asyncssh.SSHClientConnection,
        job: Job,
        bundle: Path,
        backend: Backend,
        listener: Listener,
        sent: list[int],
    ) -> BoardRun:
        folder = f"{self.target.folder}/{job.key}"
        await self._shell(connection, quote("mkdir", "-p", "--", folder), "make a folder")
        missing = await self._missing(connection, folder, job)
        if missing.pop(RUNNER, None) is not None:
            await self._send(connection, folder, job, [RUNNER], [0])
        facts = await self._probe(connection, folder)
        try:
            check_facts(facts, sum(missing.values()), bundle, backend, str(self.target))
        except DeviceUnavailableError as error:
            if listener.done:  # the chip was there before: after a restart its driver may come later than SSH
                raise LostError(str(error)) from error
            raise
        await self._send(connection, folder, job, missing, sent)
        await self._work(connection, folder, job, listener)
        assert listener.finished is not None
        async with open_sftp(connection, self.target) as sftp, sftp.open(f"{folder}/{RESULTS}", "rb") as stream:
            data = await stream.read()
        assert isinstance(data, bytes)
        run = read_run(data, listener.finished, job, facts)
        self._finished.append(folder)
        return run

    async def _remove(self, connection: asyncssh.SSHClientConnection, folder: str) -> None:
        """Remove a folder there. What cannot be removed is only said: what was asked for is here already."""
        try:
            await self._shell(connection, quote("rm", "-rf", "--", folder), "clean up")
        except (LostError, DeployError, OSError, asyncssh.Error) as error:
            logger.warning("%s stays on %s (%s)", folder, self.target, error)

    async def _probe_alone(self) -> dict[str, Any]:
        folder = f"{self.target.folder}/probe"
        with TemporaryDirectory() as scratch:
            path = Path(scratch) / RUNNER
            write_runner(path)
            job = Job("probe", {RUNNER: path}, {RUNNER: sha256_file(path)}, ())
            try:
                async with connect(self.target) as connection:
                    await self._shell(connection, quote("mkdir", "-p", "--", folder), "make a folder")
                    try:
                        await self._send(connection, folder, job, [RUNNER], [0])
                        return await self._probe(connection, folder)
                    finally:
                        await self._remove(connection, folder)
            except LostError as error:
                raise DeployError(f"lost the connection to {self.target}: {error}") from error

    async def _probe(self, connection: asyncssh.SSHClientConnection, folder: str) -> dict[str, Any]:
        listener = Listener()
        process = await connection.run(self._command(folder, "probe"), check=False)
        for line in str(process.stdout or "").splitlines():
            listener.hear(line)
        if listener.probe is None:
            self._raise_if_lost(process.exit_status)
            raise DeployError(
                f"the runner does not start on {self.target}: {_tail(process.stderr)}; it needs Python 3.7 or newer "
                f"with numpy, as {self.python} ({self.section}.python)"
            )
        return listener.probe

    async def _missing(self, connection: asyncssh.SSHClientConnection, folder: str, job: Job) -> dict[str, int]:
        """Files that are not there yet, or not as they should be, with the bytes still to send of each."""
        sums = quote("sha256sum", "--", *job.files)
        command = f"{quote('cd', '--', folder)} && {{ {sums}; stat -c '%s %n' -- *.part; }} 2>/dev/null"
        done = await connection.run(command, check=False)
        lines = (line.split(maxsplit=1) for line in str(done.stdout or "").splitlines())
        there = {parts[1].lstrip("*"): parts[0] for parts in lines if len(parts) == 2}
        return {
            name: max(0, job.files[name].stat().st_size - int(there.get(_part(name, digest), 0)))
            for name, digest in job.checksums.items()
            if there.get(name) != digest
        }

    async def _send(
        self, connection: asyncssh.SSHClientConnection, folder: str, job: Job, names: Iterable[str], sent: list[int]
    ) -> None:
        """Upload files under a temporary name, going on with what an earlier attempt left, then rename."""
        try:
            async with open_sftp(connection, self.target) as sftp:
                for name in names:
                    remote = f"{folder}/{name}"
                    part = f"{folder}/{_part(name, job.checksums[name])}"
                    await sftp.makedirs(remote.rsplit("/", 1)[0], exist_ok=True)
                    await _upload(sftp, job.files[name], part, sent)
                    await sftp.posix_rename(part, remote)
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection):
            raise
        except asyncssh.SFTPError as error:
            if connection.is_closed():
                raise LostError(error.reason) from error
            df = f"{quote('df', '-Pk', '--', folder)} | tail -n 1 | awk '{{print $4}}'"
            room = await self._shell(connection, df, "df")
            raise DeployError(
                f"{self.target} refused a file ({error.reason}); {room.strip() or '?'} kB are free in {folder} there: "
                "make room, or name another folder: ssh://user@host/folder"
            ) from error

    async def _work(self, connection: asyncssh.SSHClientConnection, folder: str, job: Job, listener: Listener) -> None:
        listener.finished = listener.error = None
        process = await connection.create_process(self._command(folder, "job", "."), stdin=asyncssh.DEVNULL)
        started = time.monotonic()
        async for line in process.stdout:
            listener.hear(str(line))
        done = await process.wait()
        if listener.finished:
            logger.info("%s: %d images in %.1f s", self.target, len(job.images), time.monotonic() - started)
            return
        if listener.error:
            raise DeployError(f"{self.target}: {listener.error['message']}")
        self._raise_if_lost(done.exit_status)
        how = f"signal {done.exit_signal[0]}" if done.exit_signal else f"exit status {done.exit_status}"
        raise DeployError(
            f"the runner on {self.target} died ({how}; {_tail(done.stderr)}); {listener.done} of {len(job.images)} "
            "images are done there, and the same command goes on with the others"
        )

    def _command(self, folder: str, *arguments: str) -> str:
        source = source_named(self.set_env) if self.set_env else source_set_env()
        run = quote(self.python, RUNNER, *arguments)
        return quote("bash", "-c", f"{quote('cd', '--', folder)} || exit 1\n{source}\nexec -- {run}")

    async def _shell(self, connection: asyncssh.SSHClientConnection, command: str, what: str) -> str:
        done = await connection.run(command, check=False)
        if done.exit_status != 0:
            self._raise_if_lost(done.exit_status)
            raise DeployError(f"{self.target} cannot {what}: {_tail(done.stderr)}")
        return str(done.stdout or "")

    @staticmethod
    def _raise_if_lost(status: int | None) -> None:
        if status is None:
            raise LostError("the session ended without a status")


def _part(name: str, digest: str) -> str:
    """What a file is called until it is there as a whole."""
    return f"{name.replace('/', '_')}.{digest[:12]}.part"


async def _upload(sftp: asyncssh.SFTPClient, local: Path, part: str, sent: list[int]) -> None:
    size = local.stat().st_size
    there = (await sftp.stat(part)).size or 0 if await sftp.exists(part) else 0
    offset = there if there <= size else 0  # the checksum of the whole is compared before anything runs
    async with sftp.open(part, "r+b" if offset else "wb") as remote:
        with local.open("rb") as stream:
            stream.seek(offset)
            while block := stream.read(_BLOCK):
                await remote.write(block, offset)
                offset += len(block)
                sent[0] += 1


def _tail(text: Any) -> str:
    """The last words of a standard error."""
    lines = [line for line in str(text or "").strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
