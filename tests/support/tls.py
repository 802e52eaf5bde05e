"""Three ways in which a server's certificate is not right, and what every client of ours says of each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

import pytest

from tests.security.certificates import Authority, Pair

HOST = "127.0.0.1"


class Server(Protocol):
    """It runs with TLS."""

    def show(self, pair: Pair) -> None:
        """From now on, another certificate, as a rotation does it."""


Spoil = Callable[
    [Server, Authority, Authority], None
]  # server, the authority that is trusted, one that is not


def another_authority(server: Server, _: Authority, stranger: Authority) -> None:
    server.show(stranger.server(HOST))


def another_name(server: Server, authority: Authority, _: Authority) -> None:
    server.show(authority.server("another.example"))


def expired(server: Server, authority: Authority, _: Authority) -> None:
    server.show(authority.server(HOST, ends=timedelta(days=-1)))


# `spoil`, and what has to be `said` of it.
EACH_WRONG_CERTIFICATE = pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (another_authority, "unable to get local issuer certificate"),
        (another_name, "IP address mismatch"),
        (expired, "certificate has expired"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
