"""Connections to a board: opened with keys alone, and what their errors mean.

Host keys are checked against ~/.ssh/known_hosts; keys and agents open the door, passwords never do. Names, ports and
identities may stand in ~/.ssh/config, as for `ssh`.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncssh

from yoloslim.deploy.board.job import DeviceUnavailableError
from yoloslim.deploy.board.target import SshTarget
from yoloslim.errors import DeployError

_TIMEOUT_S = 20


class LostError(Exception):
    """The board is away, or its chip is; what was done is not lost."""


@contextlib.asynccontextmanager
async def connect(target: SshTarget, reached: bool = False) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection for the length of a `with`.

    Args:
        target: where to.
        reached: it has answered before, so that silence and refusal now mean that it is away for a while.

    Raises:
        DeployError: unknown host key, or no key accepted.
        DeviceUnavailableError: it cannot be reached, and never was.
        LostError: the connection broke, or cannot be opened again.
    """
    connection = await _open(target, reached)
    try:
        async with connection:
            yield connection
    except asyncssh.DisconnectError as error:
        raise LostError(error.reason) from error
    except (
        *(asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.ChannelOpenError),
        *(BrokenPipeError, ConnectionResetError),
    ) as error:
        raise LostError(str(error)) from error


async def _open(target: SshTarget, reached: bool) -> asyncssh.SSHClientConnection:
    options: dict[str, Any] = {"username": target.user, "port": target.port}
    try:
        return await asyncssh.connect(
            target.host,
            **{name: value for name, value in options.items() if value is not None},
            preferred_auth="publickey",
            connect_timeout=_TIMEOUT_S,
            login_timeout=_TIMEOUT_S,
            keepalive_interval=10,
            keepalive_count_max=3,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise DeployError(
            f"the host key of {target} is unknown or not the one in ~/.ssh/known_hosts ({error.reason}); if you "
            f"trust the board, connect once by `ssh {target}` and compare its fingerprint"
        ) from error
    except asyncssh.PermissionDenied as error:
        raise DeployError(
            f"{target} accepted none of your keys; give it one by `ssh-copy-id`, or load it into an agent "
            "(passwords are not used)"
        ) from error
    except (OSError, asyncssh.Error, TimeoutError, ValueError) as error:
        if reached or isinstance(error, asyncssh.ConnectionLost | ConnectionResetError):
            raise LostError(str(error) or type(error).__name__) from error
        silent = f"no answer within {_TIMEOUT_S} s" if isinstance(error, TimeoutError) else type(error).__name__
        raise DeviceUnavailableError(
            f"{target} cannot be reached ({str(error) or silent}): is it on, and the address right?"
        ) from error


@contextlib.asynccontextmanager
async def open_sftp(connection: asyncssh.SSHClientConnection, target: SshTarget) -> AsyncIterator[asyncssh.SFTPClient]:
    """File transfer for the length of a `with`.

    Raises:
        DeployError: the board has no SFTP server.
    """
    try:
        sftp = await connection.start_sftp_client()
    except (asyncssh.ChannelOpenError, asyncssh.SFTPError) as error:
        if connection.is_closed():
            raise
        raise DeployError(
            f"{target} has no SFTP server ({error}); install one there (openssh-sftp-server), and name it in its "
            "/etc/ssh/sshd_config: `Subsystem sftp internal-sftp`"
        ) from error
    async with sftp:
        yield sftp
