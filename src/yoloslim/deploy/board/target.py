"""Where a compiled model runs: on this machine, or on a board that is reached over SSH."""

import re
from dataclasses import dataclass

from yoloslim.errors import DeployError

_SSH = re.compile(r"ssh://(?:(?P<user>[^@/:]+)@)?(?P<host>\[[^]]+\]|[^@/:]+)(?::(?P<port>\d+))?(?P<folder>/.*)?")


@dataclass(frozen=True)
class SshTarget:
    """A board.

    Attributes:
        host: name, address, or an alias in ~/.ssh/config.
        user: None takes ~/.ssh/config's, else one's own.
        port: None takes ~/.ssh/config's, else 22.
        folder: where runs are kept there; relative to the user's home.
    """

    host: str
    user: str | None = None
    port: int | None = None
    folder: str = "yoloslim-runs"

    def __str__(self) -> str:
        """As it is written in params.yaml, without the folder."""
        user, port = f"{self.user}@" if self.user else "", f":{self.port}" if self.port else ""
        return f"ssh://{user}{self.host}{port}"


def parse_target(text: str, name: str = "ascend.target") -> SshTarget | None:
    """`local` as None, `ssh://[user@]host[:port][/folder]` as a board; `name` is that of the setting, for messages.

    Raises:
        DeployError: neither, or a password in it.
    """
    if text == "local":
        return None
    match = _SSH.fullmatch(text)
    if re.match(r"ssh://[^@/]*:[^@/]*@", text):
        raise DeployError(f"{name} holds a password, and files are no place for one; use a key or an agent")
    if match is None:
        raise DeployError(f"{name}={text!r} is neither local nor ssh://user@host[:port][/folder]")
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port < 65536:
        raise DeployError(f"{name}={text!r}: port {port} does not exist")
    folder = (match["folder"] or "").rstrip("/")
    return SshTarget(match["host"].strip("[]"), match["user"], port, folder or "yoloslim-runs")
