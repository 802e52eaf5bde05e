"""Measuring what nobody knows of a SIPPulse, with a throw-away subscriber that is removed at the end.

What is measured are the keys of `assume` (worker/settings/assume.py), and the texts of faults for `refusals`.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from worker.domain.outcome import Refused, Unclear
from worker.platforms.port import Unread
from worker.platforms.sippulse.answers import Answered
from worker.platforms.sippulse.client import Client
from worker.platforms.sippulse.fields import DEFAULTS, money
from worker.platforms.sippulse.learn_words import UNDECLARED, answered, looks, pattern_of, said, shape, word
from worker.platforms.sippulse.records import READ, Name, is_nameless, is_of, without_names
from worker.settings import SippulseSettings

# contractNumber of what was made here begins with it, so that a leftover is known again; what a run made itself
# bears that run's own.
MARK = "worker platforms learn"
SMALL = Decimal("0.014")  # finer than a cent, and neither half of one
MOST_COPIES = 5  # removals until it has to be gone
AGAIN = 2.0  # seconds until a second look, where an answer was lost

WRITES = (
    "blocks the outgoing calls of a subscriber that does not exist",
    "makes the subscriber, changes it, blocks and activates it",
    "adds 0.014 to its credit",
    "makes it a second time under the same name",
    "removes it, as often as it is there",
)


class CannotLearn(Exception):
    """Nothing can be measured. One sentence, and what would help."""


@dataclass(frozen=True, slots=True)
class Finding:
    """value: of the key in `assume`; None: it could not be measured, and `seen` says why."""

    key: str
    value: str | bool | None
    seen: str


@dataclass(slots=True)
class Report:
    """refusals: pattern -> error code. notes: seen, and no key for it. clean: the subscriber is gone again.
    others: one of the name is there that was not made here, and was left alone. sent: each write, in order, with
    whom it was about and how it was answered; no secret is in it."""

    findings: list[Finding] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    clean: bool = True
    others: bool = False
    sent: list[dict[str, str]] = field(default_factory=list)

    def add(self, key: str, value: str | bool | None, seen: str) -> None:
        self.findings.append(Finding(key, value, seen))

    def value(self, key: str) -> str | bool | None:
        return next((each.value for each in self.findings if each.key == key), None)


@dataclass(frozen=True, slots=True)
class Given:
    """profile, rate_plan: of the test subscriber; None: the first that the platform lists."""

    profile: str | None = None
    rate_plan: int | None = None


class Study:
    """One run. `report` holds what is known so far, also after an interruption."""

    def __init__(self, client: Client, settings: SippulseSettings, name: Name, given: Given) -> None:
        self._client, self._settings, self._name, self._given = client, settings, name, given
        self.report = Report()
        self._absent = ""  # how a read says that there is nobody
        self._texts: dict[str, set[str]] = {}  # error code -> texts of faults that mean it
        self._sip, self._portal = secrets.token_hex(8), secrets.token_hex(8)
        self._mark = f"{MARK} {secrets.token_hex(4)}"
        self._ours = False  # from the first insert on there may be one under the name that is ours
        self._lost = False  # an answer to a write was lost: it may land later

    async def run(self, tell: Callable[[str], None]) -> None:
        """Measure all of it. `tell`: what is being done, for who waits. Raises CannotLearn. Cleans up in any case."""
        try:
            tell("reading")
            await self._nobody()
            await self._nowhere()
            await self._write_to_nobody()
            tell(f"making {self._name}")
            await self._make()
            await self._passwords()
            await self._signing_in()
            tell("blocking and activating it")
            await self._reached()
            tell("changing it")
            await self._left_out()
            await self._money()
            tell("making it again")
            await self._twice()
            self._not_from_here()
            self._patterns()
        finally:
            if self._ours:
                tell(f"removing {self._name}")
                await self._clean_up()

    # Calls ----------------------------------------------------------------------------------------

    async def _ask(self, operation: str, **arguments: Any) -> Answered | Unread:
        """About the test subscriber, unless the arguments name another."""
        return await self._call(operation, {**self._name.arguments, **arguments})

    async def _call(self, operation: str, arguments: Mapping[str, Any]) -> Answered | Unread:
        endpoint = operation if "." in operation else f"SubscriberWS.{operation}"
        changes = not endpoint.partition(".")[2].startswith(("retrieve", "list", "authenticate"))
        own = (self._sip, self._portal)
        about = arguments.get("subscriber", arguments)
        noted = {
            "operation": endpoint,
            "subscriber": str(Name(about.get("username", ""), about.get("domain", ""))),
        }
        try:
            heard = await self._client.call(endpoint, arguments, fresh=changes, secrets=own)
        except asyncio.CancelledError:
            self._lost = self._lost or changes
            self._sent(changes, noted, "is not answered (broken off)")
            raise
        self._lost = self._lost or (changes and isinstance(heard.what, Unclear))
        self._sent(changes, noted, answered(heard.what))
        return heard.what

    def _sent(self, changes: bool, noted: dict[str, str], how: str) -> None:
        if changes:
            self.report.sent.append({**noted, "answer": how})

    async def _record(self) -> Mapping[str, Any] | None:
        """None: it could not be read, or is not there."""
        what = await self._ask("retrieveSubscriber")
        return what.value if isinstance(what, Answered) and is_of(self._name, what.value) else None

    async def _balance(self) -> Decimal | None:
        what = await self._ask("retrieveCredit")
        number = isinstance(what, Answered) and isinstance(what.value, (float, Decimal))
        return money(what.value) if isinstance(what, Answered) and number else None

    async def _well(self) -> bool:
        return isinstance(await self._call("DomainWS.listDomains", {}), Answered)

    # Nobody ---------------------------------------------------------------------------------------

    async def _nobody(self) -> None:
        if not await self._well():
            raise CannotLearn("DomainWS.listDomains is not answered: see `worker platforms check`")
        other = Name(f"zz{secrets.token_hex(12)}", self._name.domain)
        what = await self._call(READ, other.arguments)
        self._absent = shape(other, what)
        if not self._absent:
            raise CannotLearn(f"a subscriber that cannot exist is read as: {word(what)}")
        await self._not_there_yet()
        if not await self._well():
            raise CannotLearn("the platform fell ill meanwhile: try it again")
        if isinstance(what, Refused):
            self._note("not_found", what, other)
        self.report.add(
            "absent_is_undeclared_fault",
            self._absent == UNDECLARED,
            f"retrieveSubscriber of nobody is answered by {self._absent}",
        )

    async def _not_there_yet(self) -> None:
        """What was left over from an interrupted run is removed; anybody else's is left alone."""
        record = await self._record()
        if record is not None and marked(record, MARK):
            await self._clean_up(MARK)
        elif record is not None:
            raise CannotLearn(
                f"{self._name} is there already: name a subscriber that is not, it is made and removed"
            )
        if not await self._is_gone():
            raise CannotLearn(f"{self._name} is not read as a subscriber that cannot exist: name another one")

    async def _nowhere(self) -> None:
        """A domain that cannot exist: what is said where this login has no right."""
        other = Name(self._name.username, f"zz{secrets.token_hex(12)}.invalid")
        what = await self._call(READ, other.arguments)
        if isinstance(what, Refused) and shape(other, what) != self._absent:
            self._note("not_allowed", what, other)

    async def _write_to_nobody(self) -> None:
        other = Name(f"zz{secrets.token_hex(12)}", self._name.domain)
        what = await self._call("blockOutgoingCalls", other.arguments)
        seen = f"blockOutgoingCalls of nobody {answered(what)}"
        if isinstance(what, Refused):
            self._note("not_found", what, other)
        self.report.add("absent_writes", {Answered: "silent", Refused: "refused"}.get(type(what)), seen)

    # The subscriber -------------------------------------------------------------------------------

    async def _make(self) -> None:
        self._fields = {
            **DEFAULTS,
            **self._settings.assume.new_subscriber,
            **self._name.arguments,
            "password": self._sip,
            "passwordPortal": self._portal,
            "profile": self._given.profile or await self._first("ProfileWS.listProfilesByDomain", "profile"),
            "ratePlanId": self._given.rate_plan
            or await self._first("RatePlanWS.listRatePlansByDomain", "id"),
            "emailAddress": f"learn@{self._name.domain}",
            "countryCode": 55,
            "areaCode": 11,
            "callLimit": 1,
            "firstName": "Learn",
            "lastName": "Learn",
            "contractNumber": self._mark,
        }
        self._ours, self.report.clean = True, False
        what = await self._call("insertSubscriber", {"subscriber": self._fields})
        if not isinstance(what, Answered):
            raise CannotLearn(f"insertSubscriber {answered(what)}: see --profile and --rate-plan")
        record = await self._record()
        if record is None:
            raise CannotLearn(f"{self._name} was made, and cannot be read")
        if not marked(record, self._mark):
            why = "does not show the contractNumber by which it would be known again"
            raise CannotLearn(f"{self._name} was made, and its record {why}")
        self._made = record

    async def _first(self, read: str, name: str) -> Any:
        """Of what the platform lists; where it lists nothing, a guess that insertSubscriber may refuse."""
        what = await self._call(read, {"domain": self._name.domain})
        rows = what.value if isinstance(what, Answered) and isinstance(what.value, list) else []
        found = next((row[name] for row in rows if isinstance(row, Mapping) and row.get(name)), None)
        if found is None:
            self.report.notes.append(f"{read} lists none for {self._name.domain}: a guess was used")
        return found or (1 if name == "id" else "default")

    async def _passwords(self) -> None:
        sent = {"password": self._sip, "passwordPortal": self._portal}
        shown = {name: looks(self._made.get(name), value) for name, value in sent.items()}
        found = set(shown.values())
        value = found.pop() if len(found) == 1 else "as_they_look"
        self.report.add("passwords", value, "in the record: " + said(shown))
        asked = {}
        for operation, secret in (("retrievePassword", self._sip), ("retrievePasswordWEB", self._portal)):
            what = await self._ask(operation)
            asked[operation] = looks(what.value, secret) if isinstance(what, Answered) else word(what)
        kinds = {each == "returned" for each in asked.values()}
        words = {True: "clear", False: "hidden"}
        value = words[kinds.pop()] if len(kinds) == 1 else "as_it_looks"
        self.report.add("retrieve_password", value, said(asked))

    async def _signing_in(self) -> None:
        taken = {}
        for which, secret in (("sip", self._sip), ("portal", self._portal)):
            what = await self._ask("CustomerWS.authenticate", password=secret)
            taken[which] = isinstance(what, Answered) and not is_nameless(what.value)
        only = [which for which, accepted in taken.items() if accepted]
        seen = f"authenticate takes {' and '.join(only) or 'neither'}"
        self.report.add("customer_password", only[0] if len(only) == 1 else None, seen)

    async def _reached(self) -> None:
        """Each operation twice: the second time its state is reached."""
        second: dict[str, Answered | Unread] = {}
        for operation in (
            "activateSubscriber",
            "blockSubscriber",
            "blockOutgoingCalls",
            "activateOutgoingCalls",
        ):
            before = await self._record()
            await self._ask(operation)
            if operation == "blockSubscriber":
                self._moved(operation, before, await self._record())
            second[operation] = await self._ask(operation)
        for what in second.values():
            if isinstance(what, Refused):
                self._note("already_exists", what)
        kinds = {type(what) for what in second.values()}
        value = "refused" if Refused in kinds else "accepted" if kinds == {Answered} else None
        by_answer: dict[str, list[str]] = {}
        for name, what in second.items():
            by_answer.setdefault(answered(what), []).append(name)
        seen = "; ".join(f"{', '.join(names)} {how}" for how, names in by_answer.items())
        self.report.add("already_reached", value, f"the second time {seen}")

    def _moved(self, operation: str, before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> None:
        if before is None or now is None:
            return
        moved = [name for name in before if before[name] != now.get(name)]
        shown = f"moved {', '.join(moved)}" if moved else "moved no field of the record"
        self.report.notes.append(f"{operation} {shown}")

    async def _left_out(self) -> None:
        """Everything is sent but a name and the passwords."""
        current = await self._record() or {}
        gone = {"firstName", "password", "passwordPortal", "id", "accountCode"}
        kept = {**self._fields, **{name: value for name, value in current.items() if value is not None}}
        sent = {name: value for name, value in kept.items() if name not in gone}
        what = await self._call("updateSubscriber", {"subscriber": {**sent, "lastName": "Changed"}})
        now = await self._record()
        if not isinstance(what, Answered) or now is None or now.get("lastName") != "Changed":
            seen = f"updateSubscriber without firstName and passwords {answered(what)}"
            self.report.add("left_out", None, seen)
            return
        shown = {"firstName": "kept" if now.get("firstName") == "Learn" else "cleared"}
        shown["password"] = await self._password_after(now)
        values = set(shown.values())
        value = "cleared" if "cleared" in values else "kept" if values == {"kept"} else None
        self.report.add("left_out", value, said(shown))

    async def _password_after(self, record: Mapping[str, Any]) -> str:
        """By any way that showed it before."""
        if self.report.value("passwords") == "returned":
            return "kept" if record.get("password") == self._sip else "cleared"
        if self.report.value("retrieve_password") == "clear":
            what = await self._ask("retrievePassword")
            return "kept" if isinstance(what, Answered) and what.value == self._sip else "cleared"
        secret = {"sip": self._sip, "portal": self._portal}.get(str(self.report.value("customer_password")))
        if secret is None:
            return "nobody can see it"
        what = await self._ask("CustomerWS.authenticate", password=secret)
        return "kept" if isinstance(what, Answered) and not is_nameless(what.value) else "cleared"

    async def _money(self) -> None:
        before = await self._balance()
        what = await self._ask("addCredit", value=SMALL, obs=MARK)
        after = await self._balance()
        if not isinstance(what, Answered) or before is None or after is None:
            self.report.add("rounding", None, f"addCredit of {SMALL} {answered(what)}")
            return
        moved = after - before
        kinds = {SMALL: "exact", Decimal("0.01"): "cents", Decimal("0.02"): "cents"}
        seen = f"addCredit of {SMALL} moved the balance by {moved}; of calls it is inferred"
        self.report.add("rounding", kinds.get(moved), seen)

    async def _twice(self) -> None:
        """A second one is only seen when the first is gone."""
        what = await self._call("insertSubscriber", {"subscriber": self._fields})
        if isinstance(what, Refused):
            self._note("already_exists", what)
            self.report.add("duplicates", "refused", f"a second insertSubscriber {answered(what)}")
            return
        await self._remove(self._mark)
        there = await self._record() is not None
        seen = f"a second insertSubscriber {answered(what)}, and after one removal "
        value = "doubled" if there and isinstance(what, Answered) else None
        self.report.add("duplicates", value, seen + ("it was still there" if there else "it was gone"))

    def _not_from_here(self) -> None:
        """What it would take a call, or a number that may be somebody's, to measure."""
        self.report.add(
            "numbers", None, "no number is given away to try: one that is not listed may be somebody's"
        )
        self.report.notes.append(
            "when a call appears in vi_cdrs cannot be measured from here: make a call, and compare its row's "
            "time with the balance; call_records.lag has to be longer"
        )
        self.report.notes.append(
            "what goes along with a subscriber that is removed cannot be measured from here: the test subscriber has "
            "no numbers; release numbers before"
        )

    # Texts ----------------------------------------------------------------------------------------

    def _note(self, code: str, refused: Refused, name: Name | None = None) -> None:
        text = without_names(refused.text, name or self._name)
        login = rf"(?<!\w){re.escape(self._settings.login)}(?!\w)"
        self._texts.setdefault(code, set()).add(re.sub(login, "<login>", text))

    def _patterns(self) -> None:
        """Texts that mean one thing only."""
        for code, texts in self._texts.items():
            others = {each for other, them in self._texts.items() if other != code for each in them}
            for text in sorted(texts):
                if text in others or not re.search(r"[A-Za-z]{3}", text) or re.search("…", text):
                    self.report.notes.append(f'the fault text "{text}" says too little to be a refusal')
                else:
                    self.report.refusals[pattern_of(text)] = code

    # The end --------------------------------------------------------------------------------------

    async def _clean_up(self, mark: str = "") -> None:
        """Remove what is ours; `report.clean` says whether the name is free. `mark`: another than this run's."""
        for _ in range(MOST_COPIES):
            if await self._is_gone() or self.report.others:
                break
            await self._remove(mark or self._mark)
        if self._lost:
            # What was under way when the answer was lost may land after our first look.
            await asyncio.sleep(AGAIN)
            if not await self._is_gone():
                await self._remove(mark or self._mark)
        self.report.clean = await self._is_gone()

    async def _remove(self, mark: str) -> None:
        """Somebody else may have made one of the same name meanwhile: it is read just before it is removed."""
        record = await self._record()
        if record is None:  # it cannot be read now, and so nobody knows whose it is
            return
        if not marked(record, mark):
            self.report.others = True
            return
        await self._ask("removeSubscriber")

    async def _is_gone(self) -> bool:
        return shape(self._name, await self._ask("retrieveSubscriber")) == self._absent


def marked(record: Mapping[str, Any], mark: str) -> bool:
    return str(record.get("contractNumber") or "").startswith(mark)
