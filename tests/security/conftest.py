"""Services with TLS and with accounts that may do no more than they need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.certificates import Authority, Pair
from tests.services.private import need_postgresql, need_rabbitmq
from tests.support.tls import HOST
from worker.sandbox.ports import free_port
from worker.sandbox.postgres import PrivatePostgres
from worker.sandbox.rabbitmq import PrivateRabbit


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The one that our servers' certificates are from."""
    return Authority("ours")


@pytest.fixture(scope="session")
def stranger() -> Authority:
    """One that nobody here trusts."""
    return Authority("somebody else's")


@pytest.fixture
def ca(authority: Authority, tmp_path: Path) -> Path:
    return authority.write(tmp_path / "ca.pem")


class TlsRabbit:
    """A node with a TLS listener beside the plain one. `show` changes its certificate, as a rotation does."""

    def __init__(self, folder: Path, pair: Pair, authority: Authority) -> None:
        certificate, key = pair.write(folder)
        self._folder, self.port = folder, free_port()
        settings = {
            "listeners.ssl.1": f"{HOST}:{self.port}",
            "ssl_options.cacertfile": str(authority.write(folder / "ca.pem")),
            "ssl_options.certfile": str(certificate),
            "ssl_options.keyfile": str(key),
            "ssl_options.versions.1": "tlsv1.3",
            "ssl_options.versions.2": "tlsv1.2",
        }
        self.node = PrivateRabbit(settings=settings)

    def url(self, vhost: str, host: str = HOST) -> str:
        return f"amqps://private:{self.node.password}@{host}:{self.port}/{vhost}"

    def show(self, pair: Pair) -> None:
        pair.write(self._folder)
        self.node.evaluate("ssl:clear_pem_cache().")


@pytest.fixture(scope="module")
def tls_rabbit(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRabbit]:
    need_rabbitmq()
    rabbit = TlsRabbit(tmp_path_factory.mktemp("tls-rabbit"), authority.server(HOST), authority)
    with rabbit.node:
        yield rabbit


class TlsPostgres:
    """A server that lets nobody in without TLS."""

    def __init__(self, server: PrivatePostgres) -> None:
        self.server = server
        self._data = server.folder / "data"
        self._certificate, self._key = (self._data / f"server.{end}" for end in ("pem", "key"))

    def show(self, pair: Pair) -> None:
        pair.write(self._data)
        owner = self._data.stat()
        for file in (self._certificate, self._key):
            os.chown(file, owner.st_uid, owner.st_gid)
        self._reload()

    def demand(self) -> None:
        """TLS on, and nothing without it."""
        for name, value in {
            "ssl": "on",
            "ssl_cert_file": self._certificate.name,
            "ssl_key_file": self._key.name,
        }.items():
            self.server.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self._reload()
        (self._data / "pg_hba.conf").write_text(f"hostssl all all {HOST}/32 scram-sha-256\n")
        self._reload()

    def _reload(self) -> None:
        self.server.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="module")
def tls_postgres(authority: Authority) -> Iterator[TlsPostgres]:
    need_postgresql()
    with PrivatePostgres(fsync=False) as server:
        tls = TlsPostgres(server)
        tls.show(authority.server(HOST))
        tls.demand()
        yield tls
