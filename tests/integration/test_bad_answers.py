"""Whatever a platform answers: its command ends with a clear code or waits, nothing is lost, no secret is told.

Through journal, engine and result; the platform is a simulator, behind a server of plain sockets that bends answers.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.transport_rig import Peer, Server, serving
from tests.security.certificates import Authority
from tests.support.engine import (
    DOMAIN,
    NEW_SUBSCRIBER,
    PLATFORM,
    Stand,
    any_journal,
    eventually,
    stand,
    templates,
)

__all__ = ["stand", "templates"]

MIB = 1024 * 1024
ADMIN = "adm-secret-of-the-platform"
SECRETS = (ADMIN, NEW_SUBSCRIBER["password"], NEW_SUBSCRIBER["portal_password"])
UNTIL_GIVEN_UP = {"retry_for": 1.0}


async def told(stand: Stand, name: str) -> dict[str, Any]:
    """All that people and programs are shown of a command, which is searched for secrets."""
    shown, events = await stand.shown(name), await stand.events(name)
    text = json.dumps([shown, events], default=str)
    for secret in SECRETS:
        assert secret not in text
    assert len(text) < 200_000, "an answer of 10 MB is kept short"
    return shown


async def problem_of(stand: Stand, name: str) -> dict[str, Any]:
    return dict((await told(stand, name))["problem"])


async def refused(stand: Stand, name: str) -> dict[str, Any]:
    """The error of a command that was rejected without an effect."""
    assert (await stand.ended(name))["state"] == "rejected"
    result = await stand.result(name)
    assert result["effect"] == "none"
    await told(stand, name)
    return dict(result["error"])


@asynccontextmanager
async def working_on(stand: Stand, server: Server, **settings: Any) -> AsyncIterator[None]:
    """An engine whose platform is behind the server; both are closed before it is."""
    platform = await stand.platform(stand.sim, url=f"{server.url}/SipPulse", **settings)
    engine = await stand.start_for([platform])
    try:
        yield
    finally:
        await engine.stop(1)
        await platform[0].close()


async def held(stand: Stand) -> str | None:
    return next((state.held for state in await stand.journal.platforms() if state.name == PLATFORM), None)


# What the platform refuses ------------------------------------------------------------------------


@any_journal
@pytest.mark.parametrize("echo", [False, True])
async def test_wrong_credentials_hold_the_platform_and_everything_is_done_when_they_are_right(
    stand: Stand, echo: bool
) -> None:
    stand.sim.platform.password = "changed by somebody"
    if echo:
        stand.sim.platform.texts["wrong_principal"] = "{login} may not sign in with {password} nor {secret}"
    stand.seed("ana")
    await stand.start(password=ADMIN)
    names = [await stand.send("credit.add", "ana", amount="2.50"), await stand.send("calls.block", "ana")]
    names.append(await stand.send("subscriber.create", "new", **NEW_SUBSCRIBER))
    await eventually(lambda: held(stand), what="a held platform")
    assert await held(stand) == "credentials_refused"
    for name in names:
        # One that was just being refused would be judged by a control read that succeeds again.
        await stand.became(name, "waiting")
        await told(stand, name)
    for state in await stand.journal.platforms():
        assert ADMIN not in str(state)
    stand.sim.platform.password = ADMIN
    for name in names:
        assert (await stand.ended(name))["state"] == "succeeded"
        await told(stand, name)
    assert stand.credited(names[0]) == 1


COMMANDS: dict[str, dict[str, Any]] = {
    "subscriber.get": {},
    "credit.add": {"amount": "2.50"},
    "calls.block": {},
    "subscriber.block": {},
    "subscriber.remove": {},
    "subscriber.update": {"changes": {"first_name": "Bia"}},
    "password.change": {"new_password": NEW_SUBSCRIBER["password"], "current_password": "old-one"},
}


@any_journal
async def test_a_domain_that_the_login_may_not_see_is_said_in_the_platforms_words(stand: Stand) -> None:
    """It answers so for every name there: to who reads, its subscribers do not exist."""
    stand.sim.platform.switches = stand.sim.platform.switches.changed({"domains": "listed"})
    await stand.start()
    for command, data in COMMANDS.items():
        error = await refused(stand, await stand.send(command, "ana", **data))
        assert error["code"] == "not_found", command
        assert f"Domain {DOMAIN} is not managed by" in error["message"], command
    error = await refused(stand, await stand.send("subscriber.create", "new", **NEW_SUBSCRIBER))
    assert error["code"] == "platform_refused"
    assert f"Domain {DOMAIN} is not managed by" in error["message"]


@any_journal
async def test_a_text_that_the_settings_know_gives_the_code_that_they_say(stand: Stand) -> None:
    stand.sim.platform.switches = stand.sim.platform.switches.changed({"domains": "listed"})
    await stand.start(refusals={r"Domain \S+ is not managed by": "not_allowed"})
    for command, data in (*COMMANDS.items(), ("subscriber.create", NEW_SUBSCRIBER)):
        error = await refused(stand, await stand.send(command, "ana", **data))
        assert error["code"] == "not_allowed", command


@any_journal
async def test_an_unknown_subscriber_is_not_found(stand: Stand) -> None:
    stand.seed("somebody else")
    await stand.start()
    for command, data in COMMANDS.items():
        error = await refused(stand, await stand.send(command, "nobody", **data))
        assert error["code"] == "not_found", command
        assert f"nobody@{DOMAIN}" in error["message"], command
    assert not stand.sim.platform.ledger.entries


@any_journal
async def test_an_operation_that_the_server_lacks_is_refused_before_anything_is_sent(stand: Stand) -> None:
    stand.seed("ana")
    await stand.start()
    name = await stand.send(
        "sippulse.SubscriberWS.activateTopologyHiding", "ana", username="ana", domain=DOMAIN
    )
    error = await refused(stand, name)
    assert error["code"] == "unsupported_by_server"
    assert "activateTopologyHiding" in error["message"]
    assert stand.watched.writes("ana") == []


@any_journal
async def test_an_operation_that_the_server_does_not_know_after_all_is_never_said_to_be_done(
    stand: Stand,
) -> None:
    """Its stack answers a fault that says nothing of the effect: read where a read shows it, else left to a person."""
    stand.seed("ana", "bob")
    for operation in ("blockOutgoingCalls", "blockSubscriber"):
        stand.sim.fail(operation, "undeclared", text="Cannot find dispatch method for {operation}")
    await stand.start(**UNTIL_GIVEN_UP)
    for command, user in (("calls.block", "ana"), ("subscriber.block", "bob")):
        row = await stand.became(await stand.send(command, user), "parked")
        assert row["effect"] == "unknown"
        assert (await problem_of(stand, row["message_id"]))["code"] == "effect_unknown", command


# Answers that are an attack, or an accident --------------------------------------------------------


def whole(peer: Peer) -> None:
    body = b"<a>" + b"x" * (10 * MIB) + b"</a>"
    peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def endless(peer: Peer) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\n\r\n<a>")
    while True:
        peer.send(b"<b>" + b"x" * 65536 + b"</b>")


def dripping(peer: Peer) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not peer.gone.wait(0.05):  # type: ignore[attr-defined] # set by `bent`
        peer.send(b"<")


def entities(peer: Peer) -> None:
    lines = "".join(
        f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' if n else '<!ENTITY l0 "lol">' for n in range(10)
    )
    body = (
        f'<!DOCTYPE a [{lines}]><S:Envelope xmlns:S="{ENVELOPE}"><S:Body>&l9;</S:Body></S:Envelope>'.encode()
    )
    peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
ATTACKS: dict[str, Callable[[Peer], None]] = {
    "10 MiB": whole,
    "no end": endless,
    "a byte at a time": dripping,
    "entities of entities": entities,
}


@contextmanager
def bent(url: str, operation: str, attack: Callable[[Peer], None]) -> Iterator[Server]:
    """Every request reaches the platform; the answer to `operation` is the attack."""

    def script(peer: Peer) -> None:
        peer.gone = server.stopping  # type: ignore[attr-defined] # what a slow script waits for
        while True:
            request = peer.request()
            head, _, body = request.partition(b"\r\n\r\n")
            path = head.split()[1].decode().removeprefix("/SipPulse")
            status, answer = forwarded(url + path, body)
            if b":" + operation.encode() + b" " in body or b":" + operation.encode() + b">" in body:
                attack(peer)
                return
            peer.send(f"HTTP/1.1 {status} -\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)

    with serving(script) as server:
        yield server


def forwarded(url: str, body: bytes) -> tuple[int, bytes]:
    asked = urllib.request.Request(url, body, {"Content-Type": "text/xml"})
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return int(answer.status), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@any_journal
@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_was_done_behind_such_an_answer_is_found_and_not_done_again(
    stand: Stand, attack: str
) -> None:
    for operation, command, data, user in (
        ("addCredit", "credit.add", {"amount": "2.50"}, "ana"),
        ("blockOutgoingCalls", "calls.block", {}, "bob"),
        ("insertSubscriber", "subscriber.create", NEW_SUBSCRIBER, "new"),
    ):
        stand.seed(*({"ana", "bob"} - {each.key[0] for each in stand.sim.platform}))
        with bent(stand.sim.url, operation, ATTACKS[attack]) as server:
            async with working_on(stand, server):
                name = await stand.send(command, user, **data)
                assert (await stand.ended(name))["state"] == "succeeded", command
                assert "in_doubt" in await stand.records(name)
                await told(stand, name)
    applied = {entry.operation: 0 for entry in stand.sim.platform.ledger.entries}
    for entry in stand.sim.platform.ledger.entries:
        applied[entry.operation] += 1
    assert applied == {"addCredit": 1, "blockOutgoingCalls": 1, "insertSubscriber": 1}


@any_journal
@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_question_that_is_always_answered_so_is_given_up_with_a_word_why(
    stand: Stand, attack: str
) -> None:
    stand.seed("ana")
    with bent(stand.sim.url, "retrieveSubscriber", ATTACKS[attack]) as server:
        async with working_on(stand, server, **UNTIL_GIVEN_UP):
            name = await stand.send("subscriber.get", "ana")
            row = await stand.became(name, "parked")
            why = {"10 MiB": "too_large", "no end": "too_large", "entities of entities": "garbage"}
            assert row["effect"] == "none"
            problem = await problem_of(stand, name)
            assert problem["code"] == "gave_up"
            assert any(word in problem["message"] for word in {why.get(attack, "timeout"), "timeout"})


@any_journal
async def test_nothing_goes_to_a_server_whose_certificate_nobody_vouches_for(
    stand: Stand, tmp_path: Path
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*Authority("a stranger's").server("127.0.0.1").write(tmp_path))

    def never(peer: Peer) -> None:
        peer.request()

    with serving(never, tls) as server:
        async with working_on(stand, server, password=ADMIN, **UNTIL_GIVEN_UP):
            for command, user, data in (
                ("credit.add", "ana", {"amount": "2.50"}),
                ("subscriber.get", "bob", {}),
            ):
                name = await stand.send(command, user, **data)
                row = await stand.became(name, "parked")
                problem = await problem_of(stand, name)
                assert (row["effect"], problem["code"]) == ("none", "gave_up")
                assert "tls" in problem["message"]
    assert server.probe_bytes() == 0, "a byte of a request went out"


# Lost answers, and what is assumed of the platform --------------------------------------------------


@any_journal
@pytest.mark.parametrize(
    ("lost", "duplicates", "ends"),
    [
        ("drop_before", "refused", "succeeded"),  # it is called again, and done
        ("drop_after", "refused", "parked"),  # called again, it is refused: it was done, or was there before
        ("drop_before", "doubled", "parked"),
        ("drop_after", "doubled", "parked"),
    ],
)
async def test_an_alias_that_no_read_lists_is_made_again_only_where_a_second_one_is_refused(
    stand: Stand, lost: str, duplicates: str, ends: str
) -> None:
    stand.sim.fail("insertDBAliases", lost, count=1)
    await stand.start(assume={"duplicates": duplicates, "all_documented_operations": True})
    aliases = {"aliasUsername": "551130001000"}
    name = await stand.send("sippulse.SubscriberWS.insertDBAliases", "ana", dbAliases=aliases)
    row = await stand.became(name, ends)
    assert row["effect"] == ("applied" if ends == "succeeded" else "unknown")
    assert len(list(stand.sim.platform.objects["aliases"])) == (
        0 if (lost, ends) == ("drop_before", "parked") else 1
    )


@any_journal
@pytest.mark.parametrize(("assumed", "ends"), [("refused", "succeeded"), ("accepted", "parked")])
async def test_a_state_that_was_reached_by_a_call_whose_answer_was_lost_is_known_again(
    stand: Stand, assumed: str, ends: str
) -> None:
    stand.sim.platform.switches = stand.sim.platform.switches.changed({"reached": "refuse"})
    stand.seed("ana")
    stand.sim.fail("blockSubscriber", "drop_after", count=1)
    refusals = {"in that state already": "already_exists"} if assumed == "refused" else {}
    await stand.start(assume={"already_reached": assumed}, refusals=refusals)
    row = await stand.became(await stand.send("subscriber.block", "ana"), ends)
    assert row["effect"] == ("applied" if ends == "succeeded" else "unknown")
    found = stand.sim.subscriber("ana", DOMAIN)
    assert found is not None
    assert not found.active
