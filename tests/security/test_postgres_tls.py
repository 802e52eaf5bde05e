"""PostgreSQL over TLS: `sslmode=verify-full` in journal.url, as every other program of PostgreSQL takes it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.security.certificates import Authority
from tests.security.conftest import TlsPostgres
from tests.support.amqp import eventually
from tests.support.storm import Sippulse, Storm, credit
from tests.support.tls import EACH_WRONG_CERTIFICATE, HOST, Spoil
from tests.support.worker import Workers

USER = "551140000001"


@pytest.fixture
def database(tls_postgres: TlsPostgres, authority: Authority) -> Iterator[str]:
    tls_postgres.show(authority.server(HOST))
    name = f"test_{secrets.token_hex(4)}"
    yield tls_postgres.server.create_database(name)
    tls_postgres.server.drop_database(name)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Sippulse]:
    async with Sippulse(tmp_path) as simulator:
        await simulator.subscribers([USER], balance="5")
        yield simulator


def verified(database: str, ca: Path) -> str:
    return f"{database}?sslmode=verify-full&sslrootcert={ca}"


async def test_the_journal_is_reached_encrypted_only(
    rabbit_url: str, database: str, tls_postgres: TlsPostgres, ca: Path, platform: Sippulse, tmp_path: Path
) -> None:
    journal = verified(database, ca)
    async with (
        Workers(tmp_path, rabbit_url, {"sippulse-br": platform.url}, journal=journal) as workers,
        Storm(rabbit_url) as storm,
    ):
        await workers.start()
        await storm.send([credit(USER)])
        await storm.until_final()
        (await storm.account(platform)).expect(succeeded=1)
        plain = tls_postgres.server.execute(
            "SELECT count(*) FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid)"
            " WHERE a.application_name = 'provisioning-worker' AND NOT s.ssl"
        )
        assert plain == "0"
        doctor = await workers.worker("doctor")
        assert "reachable, schema and key are right" in doctor.out


@EACH_WRONG_CERTIFICATE
async def test_a_certificate_that_is_not_right_stops_the_start_with_a_sentence(
    spoil: Spoil,
    said: str,
    tls_postgres: TlsPostgres,
    database: str,
    authority: Authority,
    stranger: Authority,
    ca: Path,
    rabbit_url: str,
    tmp_path: Path,
) -> None:
    spoil(tls_postgres, authority, stranger)
    async with Workers(tmp_path, rabbit_url, {}, journal=verified(database, ca)) as workers:
        ended = await workers.worker("run", within=60)
        doctor = await workers.worker("doctor")
    assert ended.code != 0
    assert said in ended.err
    assert said in doctor.out
    for text in (ended.err, ended.out, doctor.out, doctor.err):
        assert tls_postgres.server.password not in text
        assert "Traceback" not in text


async def test_a_certificate_that_ends_while_the_worker_runs_is_said(
    rabbit_url: str,
    database: str,
    tls_postgres: TlsPostgres,
    authority: Authority,
    ca: Path,
    tmp_path: Path,
) -> None:
    """What is connected stays so; the next connection is refused, and accepted when it is put right."""
    async with Workers(tmp_path, rabbit_url, {}, journal=verified(database, ca)) as workers:
        worker = await workers.start()
        tls_postgres.show(authority.server(HOST, ends=timedelta(days=-1)))
        tls_postgres.server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'provisioning-worker'"
        )

        async def says_so() -> bool:
            status, body = await worker.get("/readyz")
            return status == 503 and "certificate has expired" in body

        await eventually(says_so, 60, 0.2, "the certificate named on /readyz")
        tls_postgres.show(authority.server(HOST))
        await workers.until_ready(worker)
