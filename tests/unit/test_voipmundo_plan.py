"""From commands to VoIPMundo's operations, and why some are refused before anything is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from worker.messages.catalogue import Checked, check
from worker.messages.envelope import Envelope
from worker.messages.errors import Code, Problem
from worker.messages.rest.document import table
from worker.messages.voipmundo.portable import CUSTOMER, DID
from worker.platforms.build import build
from worker.platforms.port import Order, Platform, Step
from worker.platforms.rest import RestStep
from worker.settings import VoipmundoSettings
from worker.settings.model import Settings

PAIR = {"api_token": "t0ken-of-the-master", "api_key": "k3y-of-the-master"}
CREDIT: dict[str, Any] = {
    "undocumented": True,
    "credit": {"customer": "id_cliente", "amount": "valor", "note": "motivo", "constants": {"operacao": "C"}},
    "assume": {"balance": "saldo"},
}
ABOUT: dict[str, Any] = {"subscriber": {"id": "7"}}


def settings(**given: Any) -> VoipmundoSettings:
    read = Settings.model_validate(
        {"platforms": {"vm": {"kind": "voipmundo", "url": "http://127.0.0.1:9", **PAIR, **given}}}
    )
    found = read.platforms["vm"]
    assert isinstance(found, VoipmundoSettings)
    return found


Make = Any


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Platform] = []

    async def one(**given: Any) -> Platform:
        made.append(await build("vm", settings(**given)))
        return made[-1]

    yield one
    for each in made:
        await each.close()


def planned(platform: Platform, command: str, **data: Any) -> tuple[Step, ...] | Problem:
    return platform.plan(Order("order-1", f"{command}.v1", {"platform": "vm", **data}))


def only(platform: Platform, command: str, **data: Any) -> RestStep:
    steps = planned(platform, command, **data)
    assert isinstance(steps, tuple), steps
    (step,) = steps
    assert isinstance(step, RestStep)
    return step


def refused(platform: Platform, command: str, **data: Any) -> Problem:
    problem = planned(platform, command, **data)
    assert isinstance(problem, Problem), problem
    return problem


@pytest.mark.parametrize(
    ("command", "data"),
    [
        ("subscriber.update", {**ABOUT, "changes": {"email": "a@b.example"}}),
        ("subscriber.remove", ABOUT),
        ("credit.get", ABOUT),
        ("voipmundo.contacts.list", {}),
        ("voipmundo.click2Call.start", {"device_id": 1, "src": "1", "dst": "2"}),
    ],
)
async def test_what_no_document_shows_is_off_until_it_is_allowed(make: Make, command: str, data: Any) -> None:
    problem = refused(await make(), command, **data)
    assert problem.code is Code.UNDOCUMENTED_DISABLED
    assert "undocumented = true in the settings of vm" in problem.message


async def test_writing_to_any_resource_has_to_be_allowed_by_name_too(make: Make) -> None:
    data = {"resource": "manageDevices", "id": 1, "body": {"status": 1}}
    name = "voipmundo.resource.update"
    assert refused(await make(undocumented=True), name, **data).code is Code.NOT_ALLOWED
    assert only(await make(undocumented=True, allow=[name]), name, **data).params["body"] == {"status": 1}


async def test_blocking_calls_means_the_whole_client_and_only_where_the_settings_say_so(make: Make) -> None:
    both = ["outgoing", "incoming"]
    off = refused(await make(), "calls.block", **ABOUT, kinds=both)
    assert (off.code, "status_blocks_calls" in off.message) == (Code.UNSUPPORTED, True)
    on = await make(status_blocks_calls=True)
    assert only(on, "calls.block", **ABOUT, kinds=both).params == {"id": 7, "status": 0}
    assert only(on, "calls.unblock", **ABOUT, kinds=both).params == {"id": 7, "status": 1}
    for kinds in (["outgoing"], ["incoming"], [*both, "collect"]):
        assert refused(on, "calls.block", **ABOUT, kinds=kinds).field == "kinds"


async def test_credit_is_off_until_its_names_are_known_and_then_goes_out_under_them(make: Make) -> None:
    off = refused(await make(undocumented=True), "credit.add", **ABOUT, amount="5.00")
    assert (off.code, "credit.customer" in off.message) == (Code.UNSUPPORTED, True)
    on = await make(**CREDIT)
    step = only(on, "credit.add", **ABOUT, amount="5.00", note="thanks")
    preview = await on.preview(step)  # type: ignore[attr-defined] # a RestPlatform has it
    assert '"id_cliente": 7' in preview.body
    assert '"valor": "5.00"' in preview.body
    assert '"motivo": "order-1 thanks"' in preview.body
    assert '"operacao": "C"' in preview.body
    assert preview.reads == ("getCustomerBalance.get",)
    assert step.readable
    native = only(on, "voipmundo.manageCredit.add", customer=7, amount="5.00")
    assert native.params["note"] == "order-1"
    assert str(native.amount) == "5.00"


async def test_an_amount_is_written_as_the_settings_say(make: Make) -> None:
    comma = await make(**{**CREDIT, "credit": {**CREDIT["credit"], "decimals": "comma"}})
    assert only(comma, "credit.add", **ABOUT, amount="5.00").params["amount"] == "5,00"


def test_credit_without_a_balance_to_read_stops_the_start() -> None:
    with pytest.raises(ValueError, match=r"assume\.balance"):
        settings(**{**CREDIT, "assume": {}})


async def test_the_balance_needs_the_name_of_its_field(make: Make) -> None:
    problem = refused(await make(undocumented=True), "credit.get", **ABOUT)
    assert (problem.code, "assume.balance" in problem.message) == (Code.UNSUPPORTED, True)


async def test_a_client_is_made_of_portable_names_and_the_platforms_own(make: Make) -> None:
    data = {
        "first_name": "Padaria",
        "last_name": "Ana",
        "document": "123",
        "address": {"street": "Rua A", "number": "4", "city": "São Paulo"},
        "platform_fields": {"razao_social": "Ana Ltda", "tem_did": "1", "more": {"senha": "s3cret-x"}},
    }
    step = only(await make(more_fields=["senha"]), "subscriber.create", **data)
    assert step.params == {
        "nome_fantasia": "Padaria Ana",
        "cpf": "123",
        "endereco": "Rua A, 4",
        "cidade": "São Paulo",
        "razao_social": "Ana Ltda",
        "tem_did": 1,
        "senha": "s3cret-x",
    }
    assert "s3cret-x" not in repr(step)


@pytest.mark.parametrize(
    ("given", "data", "code", "said"),
    [
        ({}, {"document": "1"}, Code.MISSING_FIELD, "first_name"),
        (
            {},
            {"first_name": "A", "platform_fields": {"more": {"senha": "x"}}},
            Code.INVALID_FIELD,
            "more_fields",
        ),
        ({"level": "reseller"}, {"first_name": "A"}, Code.UNSUPPORTED, "level Master"),
        ({}, {"first_name": "A", "if_exists": "adopt"}, Code.UNSUPPORTED, "undocumented"),
        (
            {},
            {"first_name": "A", "last_name": "B", "platform_fields": {"nome_fantasia": "C"}},
            Code.INVALID_FIELD,
            "twice",
        ),
    ],
)
async def test_a_client_that_cannot_be_made_is_refused_with_a_sentence(
    make: Make, given: Any, data: Any, code: Code, said: str
) -> None:
    problem = refused(await make(**given), "subscriber.create", **data)
    assert problem.code is code
    assert said in problem.message


async def test_a_new_client_is_looked_for_only_where_a_list_may_be_read(make: Make) -> None:
    data = {"first_name": "Ana"}
    assert not only(await make(), "subscriber.create", **data).readable
    assert only(await make(undocumented=True), "subscriber.create", **data).readable
    assert not only(await make(undocumented=True, find_in="nothing"), "subscriber.create", **data).readable
    by_document = await make(undocumented=True, find_in="listCustomers", find_by=["cpf"])
    assert not only(by_document, "subscriber.create", **data).readable, "it has no document to go by"
    assert only(by_document, "subscriber.create", **data, document="1").readable


async def test_a_change_needs_to_know_that_what_is_not_sent_stays(make: Make) -> None:
    data = {**ABOUT, "changes": {"email": "a@b.example", "address": {"city": "X"}}}
    assert (
        refused(await make(undocumented=True), "subscriber.update", **data).code is Code.CANNOT_UPDATE_SAFELY
    )
    step = only(await make(undocumented=True, assume={"partial_update": True}), "subscriber.update", **data)
    assert step.params == {"id": 7, "email": "a@b.example", "cidade": "X"}
    assert step.promises == {"changed": ["address.city", "email"]}


async def test_a_line_needs_its_owner_unless_the_pair_is_a_subscribers_own(make: Make) -> None:
    name = "voipmundo.manageDevices.create"
    assert refused(await make(), name, username="1000").field == "customer_id"
    own = only(await make(level="subscriber"), name, username="1000")
    assert not own.readable
    assert only(await make(), name, customer_id=7, username="1000").readable
    assert not only(await make(), name, customer_id=7, auth=1).readable, "it has no user to go by"


async def test_a_subscribers_own_record_is_asked_for_without_an_id(make: Make) -> None:
    own = await make(level="subscriber")
    step = only(own, "subscriber.get", **ABOUT)
    assert (step.endpoint, step.params) == ("manageCustomers.getOwn", {})
    block = only(own, "subscriber.block", **ABOUT)
    assert block.check is not None
    assert block.check.read.endswith("getOwn.v1")


async def test_the_name_of_the_records_resource_is_a_setting(make: Make) -> None:
    platform = await make(customer_resource="getCustomer")
    preview = await platform.preview(only(platform, "subscriber.get", **ABOUT))
    assert preview.url.endswith("/api/getCustomer/***/***/7")
    update = only(await make(undocumented=True), "voipmundo.manageCustomers.remove", id=7)
    assert "/manageCustomers/" in update.operation.path


@pytest.mark.parametrize("more", [{"kind": "failed"}, {"service": "x"}])
async def test_calls_that_the_platform_does_not_keep_are_not_asked_for(make: Make, more: Any) -> None:
    data = {"since": "2026-05-01T00:00:00Z", "until": "2026-05-02T00:00:00Z", "kind": "completed", **more}
    assert refused(await make(), "call_records.list", **ABOUT, **data).code is Code.UNSUPPORTED


def test_a_new_client_stands_in_the_line_of_its_document_else_of_its_key() -> None:
    def line(**data: Any) -> str:
        envelope = Envelope(
            "1",
            "/crm",
            "subscriber.create.v1",
            {"platform": "vm", "first_name": "A", **data},
            idempotency_key="k-1",
        )
        checked = check(envelope, {"vm": "voipmundo"})
        assert isinstance(checked, Checked), checked
        assert checked.partition_key is not None
        return checked.partition_key

    assert line(document="123") == line(platform_fields={"cpf": "123"}) == "vm:subscriber:new:123"
    assert line() == "vm:key:/crm:k-1"


@pytest.mark.parametrize("command", ["password.change", "number.release", "number.list", "forwarding.set"])
def test_what_is_not_offered_is_rejected_with_the_reason(command: str) -> None:
    envelope = Envelope("1", "/crm", f"{command}.v1", {"platform": "vm", **ABOUT}, idempotency_key="k")
    checked = check(envelope, {"vm": "voipmundo"})
    assert isinstance(checked, Checked)
    assert checked.unsupported is not None
    assert "no document shows" in checked.unsupported.message


def test_the_fields_of_portable_commands_are_those_of_the_operations() -> None:
    """A name that an operation does not have would be dropped without a word."""
    operations = table("voipmundo")

    def asked(name: str) -> set[str]:
        return {each.name for each in operations[f"voipmundo.{name}.v1"].asked}

    assert set(CUSTOMER) == asked("manageCustomers.create") == asked("manageCustomers.update") - {"id"}
    assert set(DID) | {"customer_id", "did_number"} == asked("manageDID.create")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "http://api.example"}, ["https", "list of clients"]),
        ({"url": "https://api.example", "undocumented": True}, []),
        ({"url": "http://127.0.0.1:1", "level": "reseller"}, []),
    ],
)
def test_advice_names_what_would_better_be_set(given: Any, said: list[str]) -> None:
    advice = settings(**given).advice()
    assert len(advice) == len(said)
    assert all(word in f"{why} {key}" for word, (why, key) in zip(said, advice, strict=True))
