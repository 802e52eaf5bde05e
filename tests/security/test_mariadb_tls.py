"""The call records' database over TLS: a right certificate is taken; a wrong one, and none at all, end the connection
before anything of the login has gone out."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.security.certificates import Authority, Pair
from tests.services.private import need_mariadb
from tests.support.calls import PASSWORD, Calls, calls_of
from tests.support.tls import EACH_WRONG_CERTIFICATE, HOST, Spoil
from worker.platforms.sippulse.call_records.database import Database, Unreadable
from worker.sandbox.mariadb import PrivateMariaDb
from worker.settings.platforms import CallRecordSettings


class TlsMariaDb:
    """`show`: another certificate, as a rotation does. Its reader may not come in without TLS."""

    def __init__(self, folder: Path, pair: Pair) -> None:
        self._folder = folder / "tls"
        self._write(pair)
        files = {"ssl-cert": self._folder / "server.pem", "ssl-key": self._folder / "server.key"}
        self.server = PrivateMariaDb(folder, {name: str(file) for name, file in files.items()})
        self.calls: Calls

    def show(self, pair: Pair) -> None:
        self._write(pair)
        self.calls.run("FLUSH SSL")

    def _write(self, pair: Pair) -> None:
        _, key = pair.write(self._folder)
        key.chmod(0o644)  # the server's user is another one; the folder is its own


@pytest.fixture(scope="module")
def running(authority: Authority) -> Iterator[TlsMariaDb]:
    need_mariadb()
    place = PrivateMariaDb()  # for its folder alone, which the server's user can reach
    try:
        tls = TlsMariaDb(place.folder, authority.server(HOST))
        with tls.server, calls_of(tls.server) as tls.calls:
            tls.calls.run(f"ALTER USER '{tls.calls.reader_name}'@'%' REQUIRE SSL")
            yield tls
    finally:
        place.stop()


@pytest.fixture
def tls_mariadb(running: TlsMariaDb, authority: Authority) -> TlsMariaDb:
    running.show(authority.server(HOST))
    return running


async def cipher(url: str, **given: Any) -> str:
    """What the session is encrypted with. Raises Unreadable."""
    database = Database(CallRecordSettings.model_validate({"url": url, **given}))
    try:
        found = await database.select("SHOW SESSION STATUS LIKE 'Ssl_cipher'", {})
    finally:
        await database.close()
    return str(found.rows[0][1])


async def test_call_records_are_read_encrypted_from_a_server_that_our_authority_vouches_for(
    tls_mariadb: TlsMariaDb, ca: Path
) -> None:
    assert "TLS" in await cipher(tls_mariadb.calls.reader, ca=str(ca))
    with pytest.raises(Unreadable, match="refuses the login"):
        await cipher(tls_mariadb.calls.reader)


@EACH_WRONG_CERTIFICATE
async def test_a_certificate_that_is_not_right_is_told_and_nothing_is_read(
    spoil: Spoil, said: str, tls_mariadb: TlsMariaDb, authority: Authority, stranger: Authority, ca: Path
) -> None:
    spoil(tls_mariadb, authority, stranger)
    with pytest.raises(Unreadable, match=f"a certificate that is not trusted: .*{said}") as refused:
        await cipher(tls_mariadb.calls.reader, ca=str(ca))
    assert not refused.value.lasting, "it is tried again: a certificate can be put right"
    assert "call_records.ca" in refused.value.advice
    assert PASSWORD not in str(refused.value)


async def test_without_a_file_the_systems_authorities_are_asked_and_verify_false_asks_nobody(
    tls_mariadb: TlsMariaDb,
) -> None:
    with pytest.raises(Unreadable, match="not trusted"):
        await cipher(tls_mariadb.calls.reader, tls="on")
    assert "TLS" in await cipher(tls_mariadb.calls.reader, tls="on", verify=False)


def greeting() -> bytes:
    """Of a server, or of somebody in between, that has no TLS and asks for the password in clear."""
    can = 0x00000200 | 0x00008000 | 0x00080000 | 0x00000008  # 4.1, secure connection, plugins, a database
    payload = (
        b"\x0a10.11.0-MariaDB\x00"
        + struct.pack("<I", 7)
        + b"saltsalt\x00"
        + struct.pack("<HBHH", can & 0xFFFF, 45, 2, can >> 16)
        + bytes([21])
        + bytes(10)
        + b"saltsaltsalt\x00mysql_clear_password\x00"
    )
    return struct.pack("<I", len(payload))[:3] + b"\x00" + payload


@pytest.mark.parametrize("verify", [True, False])
async def test_a_server_without_tls_gets_no_byte_of_a_login_where_tls_is_asked_for(
    verify: bool,
) -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting())
        heard.set_result(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        url = f"mysql://reader:{PASSWORD}@{HOST}:{server.sockets[0].getsockname()[1]}/sippulse"
        with pytest.raises(Unreadable, match="offers no encrypted connection") as refused:
            await cipher(url, tls="on", verify=verify, statement_timeout=1)
        assert await heard == b""
    assert "certificate" in refused.value.advice


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "not encrypted"),
        ({"tls": "on", "verify": False}, "nobody checks the certificate"),
        ({"tls": "on"}, ""),
    ],
)
def test_doctor_advises_what_would_better_be_set(given: Any, said: str) -> None:
    url = "mysql://reader:secret@db.example/sippulse"
    advice = CallRecordSettings.model_validate({"url": url, **given}).advice()
    assert [said in text for text, _ in advice] == ([True] if said else [])
    assert not CallRecordSettings.model_validate({"url": url.replace("db.example", HOST)}).advice()


def test_an_unchecked_connection_that_is_not_encrypted_stops_the_start() -> None:
    with pytest.raises(ValidationError, match='verify = false says nothing without tls = "on"'):
        CallRecordSettings.model_validate({"url": "mysql://r:s@db.example/sippulse", "verify": False})
