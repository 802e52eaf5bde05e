"""RabbitMQ over TLS: the worker talks to the one it was told of, and to nobody who only claims to be it."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.security.certificates import Authority
from tests.security.conftest import TlsRabbit
from tests.support.amqp import eventually
from tests.support.storm import Sippulse, Storm, credit
from tests.support.tls import EACH_WRONG_CERTIFICATE, HOST, Spoil
from tests.support.worker import WorkerProcess, Workers

USER = "551140000001"


@dataclass(frozen=True, slots=True)
class Place:
    """A virtual host of the test's own: `url` over TLS, `plain` for the test itself."""

    url: str
    plain: str
    vhost: str


@pytest.fixture
def place(tls_rabbit: TlsRabbit, authority: Authority) -> Iterator[Place]:
    vhost = f"test-{secrets.token_hex(4)}"
    plain = tls_rabbit.node.add_vhost(vhost)
    tls_rabbit.show(authority.server(HOST))
    yield Place(tls_rabbit.url(vhost), plain, vhost)
    tls_rabbit.node.remove_vhost(vhost)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Sippulse]:
    async with Sippulse(tmp_path) as simulator:
        await simulator.subscribers([USER], balance="5")
        yield simulator


def worker_on(folder: Path, url: str, ca: Path, platform: Sippulse) -> Workers:
    return Workers(folder, url, {"sippulse-br": platform.url}, settings={"broker": {"ca": str(ca)}})


async def test_a_command_goes_out_and_comes_back_encrypted(
    tls_rabbit: TlsRabbit, place: Place, ca: Path, platform: Sippulse, tmp_path: Path
) -> None:
    async with worker_on(tmp_path, place.url, ca, platform) as workers, Storm(place.plain) as storm:
        await workers.start()
        await storm.send([credit(USER)])
        await storm.until_final()
        storm_account = await storm.account(platform)
        storm_account.check()
        storm_account.expect(succeeded=1)
        ours = connections(tls_rabbit, place.vhost)
        assert {name for name, encrypted in ours if encrypted} >= {
            "worker relay",
            "worker provisioning.commands",
        }
        assert not [name for name, encrypted in ours if name.startswith("worker ") and not encrypted]
        done = await workers.worker("send", "credit.get", f"subscriber.username={USER}",
                                    "subscriber.domain=sip.example", "--wait", "30")  # fmt: skip
        assert done.code == 0, done.err


def connections(rabbit: TlsRabbit, vhost: str) -> list[tuple[str, bool]]:
    """Name and encryption of each connection to the virtual host."""
    said = rabbit.node.ctl("list_connections", "client_properties", "ssl", "vhost", "--formatter", "json")
    return [
        (
            {name: value for name, _, value in one["client_properties"]}.get("connection_name", ""),
            one["ssl"],
        )
        for one in json.loads(said)
        if one["vhost"] == vhost
    ]


@EACH_WRONG_CERTIFICATE
async def test_a_certificate_that_is_not_right_is_refused_and_said(
    spoil: Spoil,
    said: str,
    tls_rabbit: TlsRabbit,
    place: Place,
    authority: Authority,
    stranger: Authority,
    ca: Path,
    platform: Sippulse,
    tmp_path: Path,
) -> None:
    """In the log, on /readyz and by doctor; and when it is put right, the worker goes on by itself."""
    spoil(tls_rabbit, authority, stranger)
    async with worker_on(tmp_path, place.url, ca, platform) as workers:
        worker = await workers.start(ready=False)
        await eventually(lambda: said in worker.log(), 90, 0.1, f"{said!r} in the log")
        await eventually(lambda: worker.events("console.listening"), 60, 0.1, "the console")
        worker.url = str(worker.events("console.listening")[-1]["url"])

        async def all_say_so() -> bool:
            return {"relay", "intake provisioning.commands"} <= await complaints(worker, said)

        await eventually(all_say_so, 60, 0.2, f"{said!r} on /readyz")
        assert (await worker.get("/healthz"))[0] == 200, "a restart would not help"
        doctor = await workers.worker("doctor")
        assert doctor.code == 1
        assert said in doctor.out
        assert tls_rabbit.node.password not in worker.log() + doctor.out + doctor.err

        tls_rabbit.show(authority.server(HOST))
        await workers.until_ready(worker)


async def complaints(worker: WorkerProcess, text: str) -> set[str]:
    """The parts that say so."""
    wrong: list[dict[str, Any]] = (await worker.readiness())["wrong"]
    return {one["part"] for one in wrong if text in one["text"]}


async def test_without_a_file_of_authorities_the_systems_decide(
    place: Place, platform: Sippulse, tmp_path: Path
) -> None:
    """None of them knows ours: verification is never off."""
    async with Workers(tmp_path, place.url, {"sippulse-br": platform.url}) as workers:
        doctor = await workers.worker("doctor")
    assert doctor.code == 1
    assert "certificate verify failed" in doctor.out


async def test_a_file_of_authorities_that_is_none_stops_the_start(
    place: Place, platform: Sippulse, tmp_path: Path
) -> None:
    for file, content in ((tmp_path / "none.pem", None), (tmp_path / "text.pem", "no certificate")):
        if content is not None:
            file.write_text(content)
        async with worker_on(tmp_path / file.stem, place.url, file, platform) as workers:
            ended = await workers.worker("run")
        assert ended.code == 2
        assert "broker.ca" in ended.err
        assert "Traceback" not in ended.err
