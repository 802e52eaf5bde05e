"""Ports nobody listens on."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path

LOOPBACK = "127.0.0.1"
_LOWEST = 10_240
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 500


def free_ports(count: int) -> list[int]:
    """Different free TCP ports of the loopback interface, below those of outgoing connections.

    A server that restarts wants its port back; meanwhile an outgoing connection may take one of the system's
    own range, even a client that keeps trying that very port (it then connects to itself).
    Somebody may take one before it is used: whoever starts a server looks whether it came up.
    """
    with ExitStack() as held:  # all are held until the last is chosen, or the same one could come twice
        return [_hold_one(held) for _ in range(count)]


def free_port() -> int:
    return free_ports(1)[0]


def _hold_one(held: ExitStack) -> int:
    highest = _first_of_the_system() - 1
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, highest)  # noqa: S311 - not a secret
        attempt = socket.socket()
        try:
            attempt.bind((LOOPBACK, port))
        except OSError:
            attempt.close()
            continue
        held.enter_context(attempt)
        return port
    raise OSError(f"no free port found on {LOOPBACK} between {_LOWEST} and {highest}")


def _first_of_the_system() -> int:
    try:
        first = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
    return first if first > _LOWEST + 1000 else 65_536


def answers(port: int, timeout: float = 1.0) -> bool:
    """Whether something accepts connections on this loopback port; ``timeout`` in seconds."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=timeout).close()
    except OSError:
        return False
    return True
