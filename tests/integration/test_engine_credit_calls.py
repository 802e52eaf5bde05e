"""Rule table 3, `increment`, with call records: a lost answer to a credit is settled by arithmetic.

Each case says what happens, and why. The database is a real MariaDB, read by an account that may do nothing else;
the simulator charges calls and writes them there as the platform does.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from tests.support.calls import PASSWORD, Calls, calls
from tests.support.engine import DOMAIN, RISKS, Stand, eventually, stand, templates
from worker.domain.effect import Risk
from worker.simulators.sippulse.soap import Call

__all__ = ["calls", "stand", "templates"]

# For these rules the journal only keeps what it is given: one of the two is enough.
pytestmark = pytest.mark.parametrize("stand", ["sqlite"], indirect=True)

ACCOUNT = f"ana@{DOMAIN}"


class Desk:
    """A stand whose platform has a database of calls, and things that happen just before a request."""

    def __init__(self, stand: Stand, calls: Calls) -> None:
        self.stand, self.calls = stand, calls
        self._due: list[tuple[str, int, Callable[[], object]]] = []
        self._asked: dict[str, int] = {}
        self._received = stand.sim.received
        stand.sim.received = self._receive  # type: ignore[method-assign] # the desk stands at the entrance

    async def start(self, **given: Any) -> None:
        """Short times; `lag` and the rest of call_records as given."""
        records = {"url": self.calls.reader, "lag": 0.3, **given.pop("call_records", {})}
        times = {"timeout": 5.0, "lease_margin": 10.0, "settle": 1.5, "retry_most": 0.3}
        await self.stand.start(**{**times, **given}, call_records=records)

    def before(self, operation: str, nth: int, act: Callable[[], object]) -> None:
        """The n-th reading is the first after the call where n is 2: evidence was read by the first."""
        self._due.append((operation, nth, act))

    async def _receive(self, request: web.Request, call: Call) -> web.Response:
        count = self._asked[call.operation] = self._asked.get(call.operation, 0) + 1
        for due in [each for each in self._due if each[:2] == (call.operation, count)]:
            self._due.remove(due)
            due[2]()
        return await self._received(request, call)

    def charge(self, price: str, **call: Any) -> None:
        self.stand.sim.platform.charge("ana", DOMAIN, Decimal(price), **call)

    def called(self, *prices: str, **call: Any) -> None:
        """Calls between the credit and the first reading after it."""
        self.before("retrieveCredit", 2, lambda: [self.charge(each, **call) for each in prices])

    async def credit(self, amount: str = "10.00", **given: Any) -> str:
        return await self.stand.send("credit.add", "ana", amount=amount, **given)

    async def parked(self, credit: str) -> str:
        row = await self.stand.became(credit, "parked")
        assert (row["effect"], row["problem"]["code"]) == ("unknown", "effect_unknown")
        return str(row["problem"]["message"])

    async def succeeded(self, credit: str) -> dict[str, Any]:
        row = await self.stand.ended(credit)
        assert (row["state"], row["effect"]) == ("succeeded", "applied"), row
        assert self.stand.credited(credit) == 1
        return dict((await self.stand.result(credit))["output"])

    @property
    def writes(self) -> list[str]:
        return self.stand.watched.writes("ana")


@pytest.fixture
async def desk(stand: Stand, calls: Calls) -> Desk:
    stand.sim, stand.watched = await stand.simulator(call_records=calls.owner)
    stand.seed("ana", balance="50.00")
    made = Desk(stand, calls)
    assert stand.sim.call_records is not None
    await stand.sim.call_records.connection()
    return made


def lost(desk: Desk, *, applied: bool) -> None:
    desk.stand.sim.fail("addCredit", "drop_after" if applied else "drop_before", count=1)


async def test_calls_made_meanwhile_are_explained_and_the_credit_is_done(desk: Desk) -> None:
    """50.00 + 10.00 - 0.35 - 0.70 = 58.95: moved by 8.95, calls explain 1.05, together the amount."""
    lost(desk, applied=True)
    desk.called("0.35", "0.70")
    await desk.start()
    output = await desk.succeeded(await desk.credit())
    assert (output["balance_before"], output["balance_after"]) == ("50.00", "58.95")
    assert desk.writes == ["addCredit"]


async def test_calls_made_meanwhile_are_explained_and_the_credit_is_called_again(desk: Desk) -> None:
    """50.00 - 0.35 = 49.65: the calls explain all of it, at both ends of the window; so nothing was booked."""
    lost(desk, applied=False)
    desk.called("0.35")
    await desk.start()
    await desk.succeeded(await desk.credit())
    assert desk.writes == ["addCredit", "addCredit"]
    first, second = desk.stand.watched.asked("addCredit")
    assert second.at - first.at >= 1.5, "not before the window had ended"


async def test_calls_from_before_the_credit_explain_nothing(desk: Desk) -> None:
    for _ in range(3):
        desk.charge("10.00")
    assert desk.stand.sim.call_records is not None
    await desk.stand.sim.call_records.settled()
    lost(desk, applied=True)
    await desk.start()
    assert (await desk.succeeded(await desk.credit()))["balance_after"] == "30.00"


@pytest.mark.parametrize("applied", [True, False])
async def test_calls_that_are_rated_late_are_waited_for(desk: Desk, applied: bool) -> None:
    """The price has left the balance, its record comes a second later: until then nothing is decided."""
    desk.stand.sim.platform.switches = desk.stand.sim.platform.switches.changed({"cdr_delay": 1.0})
    lost(desk, applied=applied)
    desk.called("0.35")
    await desk.start(settle=4.0)
    await desk.succeeded(await desk.credit())
    assert len(desk.writes) == (1 if applied else 2)


async def test_a_call_that_is_rated_after_the_window_leaves_it_to_a_person(desk: Desk) -> None:
    """9.65 are neither the amount nor nothing, and no record says why: the figures are in the text."""
    desk.stand.sim.platform.switches = desk.stand.sim.platform.switches.changed({"cdr_delay": 600})
    lost(desk, applied=True)
    desk.called("0.35")
    await desk.start()
    said = await desk.parked(await desk.credit())
    assert "the balance moved by 9.65, calls explain 0" in said
    assert "ordered were 10.00" in said


async def test_one_price_in_fractions_of_a_cent_is_rounding(desk: Desk) -> None:
    """0.3333 took 0.33: the third of a cent that is left is less than half of credit_step."""
    desk.stand.sim.platform.switches = desk.stand.sim.platform.switches.changed({"rounding": "cents"})
    lost(desk, applied=True)
    desk.called("0.3333")
    await desk.start()
    assert (await desk.succeeded(await desk.credit()))["balance_after"] == "59.67"


@pytest.mark.parametrize("rounding", ["exact", "cents"])
async def test_several_of_them_are_rounding_where_the_settings_say_so(desk: Desk, rounding: str) -> None:
    """Four times 0.3333 took 1.32 and not 1.3332: 1.3 cents are more than half a step. Whoever knows that the
    platform keeps balances in cents says so, and each call may be half a cent off; nobody else is guessed for."""
    desk.stand.sim.platform.switches = desk.stand.sim.platform.switches.changed({"rounding": "cents"})
    lost(desk, applied=True)
    desk.called(*["0.3333"] * 4)
    await desk.start(assume={"rounding": rounding})
    credit = await desk.credit()
    if rounding == "cents":
        await desk.succeeded(credit)
    else:
        assert "the balance moved by 8.68, calls explain 1.3332" in await desk.parked(credit)


async def test_credit_step_is_how_far_figures_may_be_apart(desk: Desk) -> None:
    """Half of 0.50: a difference of 0.20 that nothing explains is rounding here, whoever sets it so."""
    lost(desk, applied=True)
    desk.before("retrieveCredit", 2, lambda: move(desk, "-0.20"))
    await desk.start(credit_step="0.50")
    await desk.succeeded(await desk.credit())


def move(desk: Desk, amount: str) -> None:
    """Something that leaves no call record: somebody else's hand."""
    found = desk.stand.sim.subscriber("ana", DOMAIN)
    assert found is not None
    found.balance += Decimal(amount)


async def test_a_postpaid_call_that_leaves_the_balance_is_explained_as_a_prepaid_one(desk: Desk) -> None:
    lost(desk, applied=True)
    desk.called("0.35", rateplan_prepaid=0)
    await desk.start()
    assert (await desk.succeeded(await desk.credit()))["balance_after"] == "59.65"


@pytest.mark.parametrize("applied", [True, False])
async def test_a_postpaid_call_that_leaves_the_balance_alone_is_for_a_person(
    desk: Desk, applied: bool
) -> None:
    """Nobody says whether postpaid calls move the balance. Where they do not, its price explains too much: the
    figures fit neither way, and no wrong answer can come of it."""
    lost(desk, applied=applied)
    desk.before("retrieveCredit", 2, lambda: desk.calls.call(ACCOUNT, price="0.35", rateplan_prepaid=0))
    await desk.start()
    said = await desk.parked(await desk.credit())
    assert "calls explain 0.35" in said
    assert desk.writes == ["addCredit"]


@pytest.mark.parametrize("applied", [True, False])
async def test_strict_leaves_even_explained_figures_to_a_person(desk: Desk, applied: bool) -> None:
    """Somebody else may have booked the same amount, or taken it away: strict asks whose it is."""
    lost(desk, applied=applied)
    desk.called("0.35")
    await desk.start(credit_evidence="strict")
    assert 'credit_evidence = "strict"' in await desk.parked(await desk.credit())
    assert desk.writes == ["addCredit"]


async def test_twice_the_amount_is_for_a_person(desk: Desk) -> None:
    lost(desk, applied=True)
    desk.called("0.35")
    desk.before("retrieveCredit", 2, lambda: move(desk, "10.00"))
    await desk.start()
    said = await desk.parked(await desk.credit())
    assert "the balance moved by 19.65, calls explain 0.35, ordered were 10.00" in said


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("prices", [("10.00",), ("4.00", "0.35", "6.00")], ids=["one", "two-of-three"])
async def test_calls_that_cost_exactly_the_amount_are_for_a_person(
    desk: Desk, applied: bool, prices: tuple[str, ...]
) -> None:
    """Were one of them not debited yet, the same figures would mean the other thing."""
    lost(desk, applied=applied)
    desk.called(*prices)
    await desk.start()
    assert "cost exactly the amount" in await desk.parked(await desk.credit())
    assert desk.writes == ["addCredit"]


# The operator's own SELECT ----------------------------------------------------------------------------

SELECT = (
    "SELECT id FROM credits WHERE account = :account AND obs LIKE CONCAT(:command, '%') AND amount = :amount"
)


@pytest.fixture
def entries(desk: Desk) -> Desk:
    desk.calls.run(
        "CREATE TABLE credits (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, account varchar(128), obs varchar(250),"
        " amount decimal(10,2))",
        f"GRANT SELECT ON {desk.calls.name}.credits TO '{desk.calls.reader_name}'@'%'",
    )
    return desk


def entered(desk: Desk, command: str = "m1", amount: str = "10.00") -> None:
    desk.calls.run(
        f"INSERT INTO credits (account, obs, amount) VALUES ('{ACCOUNT}', '{command} note', {amount})"
    )


async def test_an_entry_of_this_command_is_certain_whatever_the_balance_says(entries: Desk) -> None:
    """No call record, and the balance moved by 3.00: by the figures alone a person would be asked."""
    lost(entries, applied=True)
    entries.before("retrieveCredit", 2, lambda: move(entries, "-7.00"))
    entries.before("retrieveCredit", 2, lambda: entered(entries))
    await entries.start(credit_evidence=SELECT, settle=30.0)
    assert (await entries.succeeded(await entries.credit(note="note")))["balance_after"] == "53.00"
    assert entries.writes == ["addCredit"]


async def test_without_an_entry_and_with_figures_that_agree_it_is_called_again(entries: Desk) -> None:
    lost(entries, applied=False)
    entries.called("0.35")
    await entries.start(credit_evidence=SELECT)
    await entries.succeeded(await entries.credit())
    assert entries.writes == ["addCredit", "addCredit"]


async def test_without_an_entry_but_with_the_amount_booked_a_person_is_asked(entries: Desk) -> None:
    """A SELECT that looks in the wrong place never shows an entry: believed alone, it would book twice."""
    lost(entries, applied=True)
    await entries.start(credit_evidence=SELECT)
    assert "the SELECT shows no credit entry, but the balance moved" in await entries.parked(
        await entries.credit()
    )
    assert entries.writes == ["addCredit"]


async def test_two_entries_of_one_command_are_for_a_person(entries: Desk) -> None:
    lost(entries, applied=True)
    for _ in range(2):
        entries.before("retrieveCredit", 2, lambda: entered(entries))
    await entries.start(credit_evidence=SELECT)
    assert "more than one credit entry" in await entries.parked(await entries.credit())


async def test_a_select_that_shows_something_before_the_call_stops_it(entries: Desk) -> None:
    """It does not single out the command, or somebody used its id: nothing is called."""
    entered(entries, "m1")
    await entries.start(credit_evidence=SELECT)
    row = await entries.stand.became(await entries.credit(), "parked")
    assert (row["effect"], entries.writes) == ("none", [])
    assert "before its call" in row["problem"]["message"]


# A database that cannot be read -----------------------------------------------------------------------


async def test_without_its_database_no_credit_is_called_and_none_is_lost(desk: Desk) -> None:
    """Without the evidence from before, nobody could tell afterwards: it waits, and says for what."""
    desk.calls.run(f"REVOKE SELECT ON {desk.calls.name}.vi_cdrs FROM '{desk.calls.reader_name}'@'%'")
    await desk.start()
    credit = await desk.credit()

    async def said() -> bool:
        row = await desk.stand.row(credit)
        return bool(row["problem"] and "grant it SELECT on vi_cdrs" in row["problem"]["message"])

    await eventually(said)
    assert desk.writes == []
    desk.calls.run(f"GRANT SELECT ON {desk.calls.name}.vi_cdrs TO '{desk.calls.reader_name}'@'%'")
    await desk.succeeded(credit)


async def test_a_doubt_waits_for_a_database_that_cannot_be_read_and_is_never_guessed(desk: Desk) -> None:
    """Neither booked nor not: a reading that failed says nothing, however often it fails."""
    lost(desk, applied=True)
    desk.called("0.35")
    revoke = f"REVOKE SELECT ON {desk.calls.name}.vi_cdrs FROM '{desk.calls.reader_name}'@'%'"
    desk.before("retrieveCredit", 2, lambda: desk.calls.run(revoke))
    await desk.start(settle=0.5)
    credit = await desk.credit()
    await eventually(lambda: len(desk.stand.watched.asked("retrieveCredit")) >= 6)
    assert (await desk.stand.row(credit))["state"] in ("in_doubt", "running")
    desk.calls.run(f"GRANT SELECT ON {desk.calls.name}.vi_cdrs TO '{desk.calls.reader_name}'@'%'")
    await desk.succeeded(credit)
    assert desk.writes == ["addCredit"]


# Native commands --------------------------------------------------------------------------------------


async def test_the_native_credit_is_settled_by_the_same_figures(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RISKS, "sippulse.SubscriberWS.addCredit", Risk.SENT)
    lost(desk, applied=True)
    desk.called("0.35")
    await desk.start()
    data = {"username": "ana", "domain": DOMAIN, "value": "10.00"}
    credit = await desk.stand.send("sippulse.SubscriberWS.addCredit", "ana", **data)
    assert (await desk.succeeded(credit))["balance_after"] == "59.65"


@pytest.mark.parametrize(
    ("applied", "meanwhile", "ends"),
    [(True, None, "succeeded"), (False, None, "succeeded"), (True, "-0.35", "parked")],
)
async def test_a_resellers_credit_is_settled_as_far_as_reads_allow(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, applied: bool, meanwhile: str | None, ends: str
) -> None:
    """No record says what calls took from a reseller: any difference but amount or nothing is for a person."""
    name = "sippulse.ResellerWS.addResellerCredit"
    monkeypatch.setitem(RISKS, name, Risk.SENT)
    sim = desk.stand.sim
    reseller = sim.platform.objects["resellers"].add(
        {"name": "north", "domain": DOMAIN, "credit": Decimal(100)}
    )
    sim.fail("addResellerCredit", "drop_after" if applied else "drop_before", count=1)
    if meanwhile:
        change = Decimal(meanwhile)
        desk.before("retrieveResellerCredit", 2, lambda: reseller.update(credit=reseller["credit"] + change))
    await desk.start(assume={"all_documented_operations": True}, allow=["sippulse.ResellerWS.*"])
    data = {"resellerName": "north", "domain": DOMAIN, "value": "25.00"}
    credit = await desk.stand.send(name, "north", **data)
    row = await desk.stand.became(credit, "succeeded", "parked", "rejected")
    assert row["state"] == ends, row
    booked = 125 if ends == "succeeded" else Decimal("124.65")
    assert reseller["credit"] == booked
    if ends == "parked":
        assert "the balance moved by 24.65" in row["problem"]["message"]


async def test_nothing_of_all_this_takes_the_databases_password_into_the_journal(desk: Desk) -> None:
    desk.calls.run("DROP VIEW vi_cdrs")
    await desk.start()
    credit = await desk.credit()

    async def said() -> bool:
        return bool((await desk.stand.row(credit))["problem"])

    await eventually(said)
    shown = f"{await desk.stand.row(credit)} {await desk.stand.shown(credit)}"
    assert "database" in shown
    assert PASSWORD not in shown
