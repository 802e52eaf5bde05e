"""What nobody knows of the platform: assumed rightly the worker does what was ordered, assumed wrongly no harm."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

from tests.integration.test_learn import MEANS
from worker.domain.evidence import Reading
from worker.domain.outcome import Done, Refused, Unclear
from worker.messages.errors import Code, Problem
from worker.platforms.build import build
from worker.platforms.port import Order, Platform
from worker.platforms.sippulse import connect
from worker.platforms.sippulse.learn import Given, Study
from worker.platforms.sippulse.records import Name
from worker.platforms.transport import NO_GUARD
from worker.settings import SippulseSettings
from worker.simulators.sippulse import Simulator, SimulatorConfig, serve
from worker.simulators.sippulse.config import CHOICES

USER, DOMAIN = "551133330001", "pbx.example"
WHO = {"username": USER, "domain": DOMAIN}
NOBODY = {"username": "551133339999", "domain": DOMAIN}
BEFORE = {"password": "sip-of-ana-1", "passwordPortal": "portal-of-ana-2", "firstName": "Ana"}
NEW: dict[str, Any] = {
    "password": "sip-of-the-new-3",
    "portal_password": "portal-of-the-new-4",
    "profile": "default",
    "rate_plan_id": 3,
    "email": "ana@example.com",
    "country_code": "55",
    "area_code": "11",
    "call_limit": 2,
}
# What a sender may order, and what of it is a write to a subscriber that has to be there.
WRITES: Mapping[str, dict[str, Any]] = {
    "subscriber.block": {},
    "subscriber.activate": {},
    "calls.block": {"kinds": ["outgoing", "private"]},
    "calls.unblock": {"kinds": ["incoming"]},
    "credit.add": {"amount": "2.50"},
    "subscriber.update": {"changes": {"first_name": "Bia", "document": "1"}},
    "subscriber.remove": {},
    "password.change": {"new_password": "neu-und-lang", "current_password": "sip-of-ana-1"},
    "forwarding.set": {"busy": "sip:1@pbx.example"},
}

Start = Callable[..., Awaitable[tuple[Simulator, Platform]]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """`switches`: how the platform behaves; `assume`: what the worker thinks of it."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(
            switches: Mapping[str, Any], assume: Mapping[str, Any], **given: Any
        ) -> tuple[Simulator, Platform]:
            person = {**WHO, **BEFORE, "balance": "5"}
            config = {"domains": [DOMAIN], "switches": dict(switches), "subscribers": [person]}
            sim = await serve(0, config=SimulatorConfig.from_values(config))
            stack.push_async_callback(sim.close)
            keys = {"url": sim.url, "login": "admin", "password": "admin", "timeout": 5.0, **given}
            settings = SippulseSettings(kind="sippulse", assume=assume, **keys)
            platform = await build("sippulse-br", settings)
            stack.push_async_callback(platform.close)
            return sim, platform

        yield begin


async def run(platform: Platform, command: str, who: Mapping[str, str], data: Mapping[str, Any]) -> list[Any]:
    """The outcomes of its steps, looked at as the engine would before those that need evidence."""
    order = Order("order-1", f"{command}.v1", {"platform": "sippulse-br", "subscriber": who, **data})
    steps = platform.plan(order)
    assert not isinstance(steps, Problem), steps
    outcomes: list[Any] = []
    for step in steps:
        before = await platform.look(step, None) if step.effect.needs_evidence else Reading()
        outcomes.append(
            (await platform.call(step, NO_GUARD)).outcome if isinstance(before, Reading) else before
        )
        if not isinstance(outcomes[-1], Done):
            break
    return outcomes


def refused(outcome: Any, *codes: Code) -> bool:
    return isinstance(outcome, Refused) and outcome.code in codes


# Nobody ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", ["fault", "empty", "undeclared", "record"])
@pytest.mark.parametrize("writes", ["fault", "silent"])
async def test_assumed_rightly_a_command_for_nobody_is_refused_whatever_the_platform_answers(
    start: Start, absent: str, writes: str
) -> None:
    assume = {
        "absent_is_undeclared_fault": absent == "undeclared",
        "absent_writes": "silent" if writes == "silent" else "refused",
    }
    sim, platform = await start({"absent": absent, "absent_writes": writes}, assume)
    for command, data in WRITES.items():
        last = (await run(platform, command, NOBODY, data))[-1]
        assert refused(last, Code.NOT_FOUND), (command, last)
    for command in ("subscriber.get", "credit.get"):
        assert refused((await run(platform, command, NOBODY, {}))[-1], Code.NOT_FOUND), command
    assert sim.platform.ledger.entries == []
    assert len(sim.platform) == 1


@pytest.mark.parametrize("absent", ["fault", "empty", "undeclared", "record"])
async def test_assumed_wrongly_nothing_is_booked_made_or_removed_for_nobody(
    start: Start, absent: str
) -> None:
    """A flag for nobody ends well where writes are silent against what was assumed: it is said in the settings."""
    wrong = {"absent_is_undeclared_fault": absent != "undeclared", "absent_writes": "refused"}
    sim, platform = await start({"absent": absent, "absent_writes": "silent"}, wrong)
    for command in ("credit.add", "subscriber.update", "subscriber.remove"):
        last = (await run(platform, command, NOBODY, WRITES[command]))[-1]
        assert not isinstance(last, Done), command
    assert sim.platform.ledger.entries == []


async def test_a_subscriber_without_money_is_not_taken_for_nobody(start: Start) -> None:
    sim, platform = await start({"absent": "record"}, {})
    found = sim.subscriber(USER, DOMAIN)
    assert found is not None
    found.balance -= found.balance
    assert await run(platform, "credit.get", WHO, {}) == [Done({"balance": "0.00"})]
    assert isinstance((await run(platform, "credit.add", WHO, {"amount": "1"}))[-1], Done)


async def test_a_fault_of_the_stack_is_a_lost_answer_unless_it_is_known_for_absence(start: Start) -> None:
    _, platform = await start({"absent": "undeclared"}, {})
    assert (await run(platform, "subscriber.get", NOBODY, {}))[-1] == Unclear("server_fault")
    assert isinstance((await run(platform, "subscriber.create", NOBODY, NEW))[-1], Unclear)


# States that are reached -------------------------------------------------------------------------


@pytest.mark.parametrize("reached", ["accept", "refuse"])
@pytest.mark.parametrize("assumed", ["accepted", "refused"])
async def test_a_state_that_is_reached_is_done_or_refused_and_never_undone(
    start: Start, reached: str, assumed: str
) -> None:
    sim, platform = await start({"reached": reached}, {"already_reached": assumed})
    rightly = reached == "accept" or assumed == "refused"
    for kind in ("outgoing", "incoming", "anonymous"):
        assert isinstance((await run(platform, "calls.block", WHO, {"kinds": [kind]}))[-1], Done)
        again = (await run(platform, "calls.block", WHO, {"kinds": [kind]}))[-1]
        assert isinstance(again, Done) if rightly else refused(again, Code.PLATFORM_REFUSED), kind
    found = sim.subscriber(USER, DOMAIN)
    assert found is not None
    assert (found.dto["activeOutgoingCalls"], found.dto["blockAnonymousCalls"]) == (False, True)


async def test_a_state_that_no_read_shows_is_known_by_the_text_of_the_refusal(start: Start) -> None:
    known = {"in that state already": "already_exists"}
    _, platform = await start({"reached": "refuse"}, {"already_reached": "refused"}, refusals=known)
    for _ in range(2):
        assert isinstance((await run(platform, "subscriber.block", WHO, {}))[-1], Done)
    _, unknown = await start({"reached": "refuse"}, {"already_reached": "refused"})
    ends = [(await run(unknown, "subscriber.block", WHO, {}))[-1] for _ in range(2)]
    assert isinstance(ends[0], Done)
    assert refused(ends[1], Code.PLATFORM_REFUSED)


async def test_a_refusal_for_another_reason_stays_one(start: Start) -> None:
    sim, platform = await start({"reached": "refuse"}, {"already_reached": "refused"})
    sim.fail("blockOutgoingCalls", "declared", text="You may not do that")
    assert refused((await run(platform, "calls.block", WHO, {}))[-1], Code.PLATFORM_REFUSED)


# Passwords, and what is left out -----------------------------------------------------------------

SHOWN = ("returned", "empty", "masked")
ASSUMED = ("as_they_look", *SHOWN)


@pytest.mark.parametrize(("passwords", "assumed"), list(itertools.product(SHOWN, ASSUMED)))
@pytest.mark.parametrize(
    ("omitted", "left_out"), [("clear", "cleared"), ("keep", "kept"), ("keep", "cleared")]
)
async def test_an_update_never_costs_a_password_unless_what_was_assumed_is_wrong(
    start: Start, passwords: str, assumed: str, omitted: str, left_out: str
) -> None:
    """rings has no operation of its own: the whole record is written back."""
    sim, platform = await start(
        {"passwords": passwords, "omitted": omitted}, {"passwords": assumed, "left_out": left_out}
    )
    last = (await run(platform, "subscriber.update", WHO, {"changes": {"platform_fields": {"rings": 20}}}))[
        -1
    ]
    found = sim.subscriber(USER, DOMAIN)
    assert found is not None
    if (passwords, assumed) == ("masked", "returned"):
        assert found.dto["password"] == "***", "as the settings say of it"
        return
    assert {name: found.dto[name] for name in BEFORE} == BEFORE
    if isinstance(last, Done):
        assert found.dto["rings"] == 20
    else:
        assert refused(last, Code.CANNOT_UPDATE_SAFELY)
    assert isinstance(last, Done) or passwords != "returned" or assumed != "as_they_look"


async def test_a_password_that_is_hidden_may_be_left_out_where_it_is_kept(start: Start) -> None:
    sim, platform = await start({"passwords": "masked", "omitted": "keep"}, {"left_out": "kept"})
    last = (await run(platform, "subscriber.update", WHO, {"changes": {"platform_fields": {"rings": 20}}}))[
        -1
    ]
    assert isinstance(last, Done)
    found = sim.subscriber(USER, DOMAIN)
    assert found is not None
    assert (found.dto["password"], found.dto["rings"]) == (BEFORE["password"], 20)


@pytest.mark.parametrize("assumed", ["unknown", "sip", "portal"])
@pytest.mark.parametrize("takes", ["sip", "portal"])
async def test_a_password_that_is_not_shown_is_proved_by_signing_in_with_it(
    start: Start, takes: str, assumed: str
) -> None:
    _, platform = await start(
        {"passwords": "masked", "customer_password": takes}, {"customer_password": assumed}
    )
    data = {"platform": "sippulse-br", "subscriber": WHO, **WRITES["password.change"]}
    plan = platform.plan(Order("order-1", "password.change.v1", data))
    assert not isinstance(plan, Problem)
    before = await platform.look(plan[0], None)
    assert isinstance((await platform.call(plan[0], NO_GUARD)).outcome, Done)
    after = await platform.look(plan[0], None)
    assert isinstance(before, Reading)
    assert isinstance(after, Reading)
    seen = [(each.matches, bool(each.old_secret_works)) for each in (before, after)]
    known = assumed == takes == "sip"
    assert seen == ([(False, True), (True, False)] if known else [(False, False)] * 2)


# Duplicates --------------------------------------------------------------------------------------

ALIAS = "sippulse.SubscriberWS.insertDBAliases"
ALIASES = {"dbAliases": {"aliasUsername": "551130001000"}}


@pytest.mark.parametrize("duplicates", ["refuse", "double"])
@pytest.mark.parametrize("assumed", ["refused", "doubled"])
async def test_a_subscriber_is_never_made_twice(start: Start, duplicates: str, assumed: str) -> None:
    """Looked for in any case, and by the platform's own refusal where it has one."""
    sim, platform = await start({"duplicates": duplicates}, {"duplicates": assumed})
    order = Order("order-1", "subscriber.create.v1", {"platform": "sippulse-br", "subscriber": WHO, **NEW})
    plan = platform.plan(order)
    assert not isinstance(plan, Problem)
    seen = await platform.look(plan[0], None)
    assert isinstance(seen, Reading)
    assert seen.present is True
    assert sim.platform.ledger.doubles == 0


@pytest.mark.parametrize(("assumed", "effect"), [("refused", "set"), ("doubled", "create")])
async def test_what_no_read_shows_is_repeated_only_where_a_second_one_is_refused(
    start: Start, assumed: str, effect: str
) -> None:
    assume = {"duplicates": assumed, "all_documented_operations": True}
    _, platform = await start({}, assume)
    plan = platform.plan(Order("order-1", f"{ALIAS}.v1", {"platform": "sippulse-br", **ALIASES}))
    assert not isinstance(plan, Problem), plan
    assert (plan[0].effect.value, plan[0].readable) == (effect, False)
    done = (await platform.call(plan[0], NO_GUARD)).outcome
    assert isinstance(done, Done)
    assert done.output["adopted"] is False


# Numbers -----------------------------------------------------------------------------------------

LISTED, UNLISTED = "551130001000", "551139990000"
NUMBERS: Mapping[tuple[str, str], dict[str, Any]] = {
    ("numbers", "any"): {"numbers": "any"},
    ("numbers", "listed"): {"numbers": "listed"},
    ("goes_along", "nothing"): {},
    ("goes_along", "all"): {},
}


def owners(sim: Simulator, number: str) -> list[Any]:
    return [row["username"] for row in sim.platform.objects["dids"] if row["aliasUsername"] == number]


@pytest.mark.parametrize("numbers", ["any", "listed"])
@pytest.mark.parametrize("assumed", ["any", "listed"])
async def test_a_number_that_is_not_listed_is_given_only_where_both_sides_take_it(
    start: Start, numbers: str, assumed: str
) -> None:
    """Assumed wrongly it is refused, by the worker or by the platform."""
    sim, platform = await start({"numbers": numbers}, {"numbers": assumed})
    assert isinstance((await run(platform, "number.assign", WHO, {"number": LISTED}))[-1], Done)
    last = (await run(platform, "number.assign", WHO, {"number": UNLISTED}))[-1]
    if numbers == assumed == "any":
        assert isinstance(last, Done)
        assert owners(sim, UNLISTED) == [USER]
        return
    assert refused(last, Code.NOT_FOUND if assumed == "listed" else Code.PLATFORM_REFUSED)
    assert owners(sim, UNLISTED) == []
    tried = sim.platform.ledger.operations["insertDid"].received
    assert tried == (1 if assumed == "listed" else 2), "what is not listed is not asked for"


@pytest.mark.parametrize("numbers", ["any", "listed"])
@pytest.mark.parametrize("assumed", ["any", "listed"])
@pytest.mark.parametrize("duplicates", ["refuse", "double"])
async def test_somebody_else_s_number_is_given_away_only_where_nobody_minds(
    start: Start, numbers: str, assumed: str, duplicates: str
) -> None:
    sim, platform = await start({"numbers": numbers, "duplicates": duplicates}, {"numbers": assumed})
    other = {"username": "551133330002", "domain": DOMAIN}
    sim.platform.seed({**other, **BEFORE})
    assert isinstance((await run(platform, "number.assign", WHO, {"number": LISTED}))[-1], Done)
    last = (await run(platform, "number.assign", other, {"number": LISTED}))[-1]
    if (numbers, assumed, duplicates) == ("any", "any", "double"):
        assert owners(sim, LISTED) == [USER, other["username"]], "as the settings say of it"
        return
    assert refused(last, Code.NOT_FOUND if assumed == "listed" else Code.PLATFORM_REFUSED)
    assert owners(sim, LISTED) == [USER]


@pytest.mark.parametrize("along", ["nothing", "all"])
async def test_whether_numbers_go_along_with_a_subscriber_changes_nothing_for_the_worker(
    start: Start, along: str
) -> None:
    """It names no number as gone or as kept, and tells what the platform lists for who has the name next."""
    sim, platform = await start({"goes_along": along}, {})
    one = {"username": "551133337777", "domain": DOMAIN}
    for command, data in (("subscriber.create", NEW), ("number.assign", {"number": LISTED})):
        assert isinstance((await run(platform, command, one, data))[-1], Done), command
    [gone] = await run(platform, "subscriber.remove", one, {})
    assert isinstance(gone, Done)
    assert set(gone.output) == {"removed"}
    assert owners(sim, LISTED) == ([one["username"]] if along == "nothing" else [])
    for command in ("number.list", "number.release"):
        data = {} if command == "number.list" else {"number": LISTED}
        assert refused((await run(platform, command, one, data))[-1], Code.NOT_FOUND), command
    last = (await run(platform, "number.assign", WHO, {"number": LISTED}))[-1]
    assert isinstance(last, Done) if along == "all" else refused(last, Code.NOT_FOUND)
    assert isinstance((await run(platform, "subscriber.create", one, NEW))[-1], Done)
    [listed] = await run(platform, "number.list", one, {})
    assert [each["number"] for each in listed.output["numbers"]] == ([LISTED] if along == "nothing" else [])


# What was learned --------------------------------------------------------------------------------

LAST = {name: values[-1] for name, values in CHOICES.items() if name != "domains"}


async def learned(sim: Simulator) -> dict[str, Any]:
    """`assume` and `refusals` as `worker platforms learn` says them."""
    keys = {"url": sim.url, "login": "admin", "password": "admin", "environment": "staging"}
    settings = SippulseSettings(kind="sippulse", **keys)
    client = await connect("sippulse-st", settings)
    study = Study(client, settings, Name("551133338888", DOMAIN), Given())
    await study.run(lambda _: None)
    await client.close()
    found = {each.key: each.value for each in study.report.findings if each.value is not None}
    return {"assume": found, "refusals": study.report.refusals}


async def live(sim: Simulator, platform: Platform, *, hidden: bool) -> None:
    """From nobody to nobody. `hidden`: a password that an update would overwrite is shown nowhere."""
    one = {"username": "551133337777", "domain": DOMAIN}
    for command, data in WRITES.items():
        assert refused((await run(platform, command, one, data))[-1], Code.NOT_FOUND), command
    for command, data in (
        ("subscriber.create", NEW),
        ("subscriber.block", {}),
        ("subscriber.block", {}),
        ("calls.block", {}),
        ("calls.block", {}),
        ("credit.add", {"amount": "2.50"}),
        ("number.assign", {"number": LISTED}),
        ("number.release", {"number": LISTED}),
    ):
        ended = await run(platform, command, one, data)
        assert all(isinstance(each, Done) for each in ended), (command, ended)
    update = {"changes": {"platform_fields": {"rings": 20}}}
    [last] = await run(platform, "subscriber.update", one, update)
    assert refused(last, Code.CANNOT_UPDATE_SAFELY) if hidden else isinstance(last, Done), last
    found = sim.subscriber(one["username"], DOMAIN)
    assert found is not None
    assert (found.dto["password"], str(found.balance)) == (NEW["password"], "2.50")
    assert found.dto["rings"] == (None if hidden else 20)
    assert isinstance((await run(platform, "subscriber.remove", one, {}))[-1], Done)
    assert len(sim.platform) == 1


@pytest.mark.parametrize(
    "switches", [{}, LAST, *({**LAST, "absent": absent} for absent in CHOICES["absent"][:-1])], ids=str
)
async def test_with_what_was_learned_a_subscriber_lives_from_creation_to_removal(
    start: Start, switches: dict[str, Any]
) -> None:
    sim, _ = await start(switches, {})
    settings = SippulseSettings(
        kind="sippulse", url=sim.url, login="admin", password="admin", **await learned(sim)
    )
    platform = await build("sippulse-br", settings)
    one = {"username": "551133337777", "domain": DOMAIN}
    rings = {"changes": {"platform_fields": {"rings": 20}}}
    try:
        for command, data in WRITES.items():
            assert refused((await run(platform, command, one, data))[-1], Code.NOT_FOUND), command
        for command, data in (
            ("subscriber.create", NEW),
            ("subscriber.block", {}),
            ("subscriber.block", {}),
            ("calls.block", {}),
            ("calls.block", {}),
            ("credit.add", {"amount": "2.50"}),
            ("subscriber.update", rings),
        ):
            ended = await run(platform, command, one, data)
            assert all(isinstance(each, Done) for each in ended), (command, ended)
        found = sim.subscriber(one["username"], DOMAIN)
        assert found is not None
        assert (found.dto["password"], found.dto["rings"], str(found.balance)) == (
            NEW["password"],
            20,
            "2.50",
        )
        assert isinstance((await run(platform, "subscriber.remove", one, {}))[-1], Done)
    finally:
        await platform.close()
    assert len(sim.platform) == 1


def all_pairs() -> list[dict[str, str]]:
    """Ways a platform may behave, so that any two values of any two switches are together in one of them."""
    names = [name for name in CHOICES if name != "domains"]
    left = {
        ((first, a), (second, b))
        for first, second in itertools.combinations(names, 2)
        for a in CHOICES[first]
        for b in CHOICES[second]
    }
    rows: list[dict[str, str]] = []
    while left:
        row = dict(min(left))
        for name in names:
            if name not in row:
                row[name] = max(CHOICES[name], key=lambda value: _gained(left, row, name, value))
        left -= set(itertools.combinations([(name, row[name]) for name in names], 2))
        rows.append(row)
    return rows


def _gained(left: set[Any], row: Mapping[str, str], name: str, value: str) -> int:
    """How many pairs of values this one adds to a row."""
    return sum(
        ((each, known), (name, value)) in left or ((name, value), (each, known)) in left
        for each, known in row.items()
    )


@pytest.mark.parametrize("switches", all_pairs(), ids=lambda row: "-".join(row.values()))
async def test_assumed_rightly_any_two_habits_together_do_no_harm(
    start: Start, switches: dict[str, str]
) -> None:
    assume = {key: value for pair in switches.items() for key, value in {**MEANS, **NUMBERS}[pair].items()}
    reads = switches["passwords"] if switches["password_reads"] == "same" else switches["password_reads"]
    assume["retrieve_password"] = "clear" if reads == "returned" else "hidden"
    sim, platform = await start(switches, assume, refusals={"in that state already": "already_exists"})
    shown = "returned" in (switches["passwords"], reads)
    await live(sim, platform, hidden=not shown and switches["omitted"] == "clear")
