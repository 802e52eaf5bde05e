"""The services that tests run against: private, started when first asked for, gone at the end."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from worker.sandbox import mariadb as mariadb_package
from worker.sandbox import postgres as postgres_package
from worker.sandbox import rabbitmq as rabbitmq_package
from worker.sandbox.mariadb import PrivateMariaDb
from worker.sandbox.postgres import PrivatePostgres
from worker.sandbox.rabbitmq import PrivateRabbit


def need(installed: bool, package: str) -> None:
    """A missing service never looks like a pass: skipped at home, failed in CI."""
    if not installed:
        stop = pytest.fail if os.environ.get("CI") else pytest.skip
        stop(f"{package} is not installed: deploy/packages {package}")


def need_rabbitmq() -> None:
    need(rabbitmq_package.installed(), "rabbitmq-server")


def need_postgresql() -> None:
    need(postgres_package.installed(), "postgresql")


def need_mariadb() -> None:
    need(mariadb_package.installed(), " ".join(mariadb_package.PACKAGES))


@pytest.fixture(scope="session")
def rabbit() -> Iterator[PrivateRabbit]:
    """One RabbitMQ node for all tests; a test that stops or kills it wants `dedicated_rabbit`."""
    need_rabbitmq()
    with PrivateRabbit() as node:
        yield node


@pytest.fixture
def rabbit_url(rabbit: PrivateRabbit) -> Iterator[str]:
    """The address of a virtual host that nobody has used; it goes with its queues after the test."""
    name = f"test-{secrets.token_hex(4)}"
    yield rabbit.add_vhost(name)
    rabbit.remove_vhost(name)


@pytest.fixture
def dedicated_rabbit() -> Iterator[PrivateRabbit]:
    """A node of the test's own, to be killed, restarted or short of memory (six seconds of CPU to start)."""
    need_rabbitmq()
    with PrivateRabbit() as node:
        yield node


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """One PostgreSQL server for all tests; a test that stops or kills it wants `dedicated_postgres`."""
    need_postgresql()
    with PrivatePostgres(fsync=False) as server:  # processes may die here, the machine does not lose power
        yield server


@pytest.fixture
def postgres_url(postgres: PrivatePostgres) -> Iterator[str]:
    """The address of an empty database of the test's own."""
    name = f"test_{secrets.token_hex(4)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture
def dedicated_postgres() -> Iterator[PrivatePostgres]:
    """A server of the test's own, to be killed or restarted."""
    need_postgresql()
    with PrivatePostgres() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[PrivateMariaDb]:
    """One MariaDB server for all tests; a test that stops, kills or freezes it wants `dedicated_mariadb`."""
    need_mariadb()
    with PrivateMariaDb() as server:
        yield server


@pytest.fixture
def dedicated_mariadb() -> Iterator[PrivateMariaDb]:
    """A server of the test's own (four seconds of CPU to make)."""
    need_mariadb()
    with PrivateMariaDb() as server:
        yield server
