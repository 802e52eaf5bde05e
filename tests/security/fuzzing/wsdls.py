"""The server's own WSDL (`wsdl = "live"`) under fire: it loads, or is declared unusable."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import cache

from tests.security.fuzzing.mutation import bent
from worker.platforms.sippulse.services import Service, Unusable, folder, live

NAME = "wsdls"
URL = "http://127.0.0.1:9/SipPulse"
LOOP = asyncio.new_event_loop()

TOKENS = (
    b"<", b">", b"/>", b'name="', b'type="', b"xs:int", b"tns:", b"xs:import", b"<xs:import schemaLocation='x.xsd'/>",
    b"<xs:include schemaLocation='file:///etc/passwd'/>", b"<wsdl:import location='http://127.0.0.1:1/x.wsdl'/>",
    b"<!DOCTYPE a [<!ENTITY x 'y'>]>", b"&x;", b'maxOccurs="unbounded"', b'maxOccurs="-1"', b'minOccurs="99999999999"',
    b"soap:", b"http://", b"\x00", b"\xff", b"<complexType>", b"<operation", b'element="', b"<xs:extension base='tns:a'>",
)  # fmt: skip


@cache
def texts() -> list[bytes]:
    return [
        (folder() / f"{name}.wsdl").read_bytes() for name in ("DomainWS", "ReloadModulesWS", "SubscriberWS")
    ]


def bend(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    return bent(seeds, TOKENS, chance)


def corpus() -> list[bytes]:
    return texts()


def check(data: bytes) -> str:
    """One case: the bytes are the answer to every document that is asked for."""

    async def fetch(_url: str) -> bytes:
        return data

    try:
        found = LOOP.run_until_complete(live("DomainWS", URL, fetch))
    except Unusable:
        return "Unusable"
    assert isinstance(found, Service)
    return "Service"
