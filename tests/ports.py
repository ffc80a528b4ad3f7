"""Ports for servers that tests start."""

import contextlib
import random
import socket


def free_port() -> int:
    """A port that nobody listens on, below those the system gives to connections, which would take it meanwhile."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
