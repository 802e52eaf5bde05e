"""A platform over HTTPS: no order and no password goes to a server that cannot prove who it is."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.transport_rig import Peer, serving
from tests.security.certificates import Authority, Pair
from tests.security.fuzzing.answers import good
from tests.support.tls import HOST
from worker.cli.probe import probe
from worker.domain.outcome import Done, NotSent
from worker.platforms.build import build
from worker.settings import PlatformSettings, SippulseSettings


def context(pair: Pair, folder: Path) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*pair.write(folder))
    return tls


def well(peer: Peer) -> None:
    while True:
        body = good(peer.request())
        peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def settings(url: str, **more: Any) -> PlatformSettings:
    given = {
        "kind": "sippulse",
        "url": f"{url}/SipPulse",
        "login": "admin",
        "password": "Adm-Secret",
        "timeout": 5,
    }
    return SippulseSettings.model_validate(given | more)


async def control(url: str, **more: Any) -> Any:
    platform = await build("sippulse-br", settings(url, **more))
    try:
        return await platform.control()
    finally:
        await platform.close()


async def test_the_right_authority_opens_the_door(authority: Authority, ca: Path, tmp_path: Path) -> None:
    with serving(well, context(authority.server(HOST), tmp_path)) as server:
        assert await control(server.url, ca=str(ca)) == Done()


@pytest.mark.parametrize("wrong", ["authority", "name", "age", "nothing trusted"])
async def test_nothing_is_sent_to_a_server_that_cannot_prove_itself(
    wrong: str, authority: Authority, stranger: Authority, ca: Path, tmp_path: Path
) -> None:
    pair = {
        "authority": stranger.server(HOST),
        "name": authority.server("other.example"),
        "age": authority.server(HOST, ends=timedelta(days=-1)),
        "nothing trusted": authority.server(HOST),
    }[wrong]
    more = {} if wrong == "nothing trusted" else {"ca": str(ca)}
    with serving(well, context(pair, tmp_path)) as server:
        assert await control(server.url, **more) == NotSent("tls")
        said = await probe("sippulse-br", settings(server.url, **more))
    assert server.probe_bytes() == 0, "a byte of the request went out"
    assert not said.well
    assert "tls" in said.text


async def test_verification_is_off_only_where_the_settings_say_so(
    stranger: Authority, tmp_path: Path
) -> None:
    assert SippulseSettings.model_fields["verify"].default is True
    with serving(well, context(stranger.server("other.example"), tmp_path)) as server:
        assert await control(server.url, verify=False) == Done()
