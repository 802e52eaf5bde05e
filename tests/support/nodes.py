"""A RabbitMQ node that tests may kill, freeze and starve: one for all tests of a file, mended in between."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.services.private import need_rabbitmq
from worker.sandbox.rabbitmq import PrivateRabbit


@dataclass(frozen=True, slots=True)
class Node:
    """`url` is that of a virtual host that nobody has used."""

    rabbit: PrivateRabbit
    url: str
    vhost: str


@pytest.fixture(scope="module")
def mortal_rabbit() -> Iterator[PrivateRabbit]:
    need_rabbitmq()
    with PrivateRabbit() as rabbit:
        yield rabbit


@pytest.fixture
def node(mortal_rabbit: PrivateRabbit) -> Node:
    mortal_rabbit.start()  # nothing, where the last test left it running
    vhost = f"test-{secrets.token_hex(4)}"
    return Node(mortal_rabbit, mortal_rabbit.add_vhost(vhost), vhost)
