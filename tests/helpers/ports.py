"""Ports for servers that tests start."""

import socket
from random import SystemRandom


def free_port() -> int:
    """A port of this machine at which nobody listens.

    Not one of those that the system gives to whoever asks for any: another test could be given it before the server
    takes it.
    """
    for port in SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("100 ports of this machine are taken")
