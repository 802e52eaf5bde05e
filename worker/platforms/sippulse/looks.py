"""The checks of the catalogue, read: what the platform shows of a native command's effect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from worker.domain.effect import Effect
from worker.domain.evidence import Reading
from worker.domain.outcome import Refused, Unclear
from worker.domain.redaction import without_secrets
from worker.messages.errors import Code
from worker.messages.sippulse import checks
from worker.messages.sippulse.checks import Param
from worker.messages.sippulse.operations import OPERATIONS
from worker.messages.sippulse.shapes import Field, type_of
from worker.platforms.port import Unread
from worker.platforms.sippulse.answers import Answered
from worker.platforms.sippulse.call_records.balance import Balances
from worker.platforms.sippulse.client import Client
from worker.platforms.sippulse.fields import differing, filled_in, money, ours, same
from worker.platforms.sippulse.merge import Trust
from worker.platforms.sippulse.records import Absent, Name, Read, Record, Records, is_nameless, nobody
from worker.platforms.sippulse.steps import NativeStep

Row = Mapping[str, Any]

RECORD = "SubscriberWS.retrieveSubscriber"
PLACES = frozenset({"username", "domain", "id"})  # name an object, and are no content of it
MOVING = frozenset({"dailyQuotaConsumed", "monthlyQuotaConsumed"})  # calls move them
NOT_SHOWN = frozenset({"cps", "keepAlive"})  # no read has them
ELSEWHERE = {"email": "emailAddress"}  # updateSubscriberServices has names of its own
SIGN_IN = "CustomerWS.authenticate"
SECRET_READS = {
    "password": "SubscriberWS.retrievePassword",
    "passwordPortal": "SubscriberWS.retrievePasswordWEB",
}


class Looks:
    """`control`: a read with the same login that succeeds when all is well."""

    def __init__(
        self, client: Client, records: Records, control: Read, trust: Trust, balances: Balances
    ) -> None:
        self._client, self._records, self._control, self._trust = client, records, control, trust
        self._balances = balances

    async def look(self, step: NativeStep, before: Reading | None = None) -> Reading | Unread:
        if not step.readable:
            return unseen(step)
        match step.operation.check:
            case checks.Inserted():
                return await self._inserted(step)
            case checks.NoSubscriber():
                return await self._subscriber(step)
            case checks.Shows(fields=fields):
                return await self._shows(step, fields)
            case checks.ShowsProfile(names=names):
                return await self._profile(step, names)
            case checks.AsSent():
                return await self._as_sent(step)
            case checks.There() as check:
                return await self._there(step, check)
            case checks.Gone() as check:
                return await self._gone(step, check)
            case checks.Grouped(gone=gone):
                return await self._grouped(step, gone)
            case checks.Booked(read=read):
                return await self._balance(step, read, before)
            case checks.ReadsBack(read=read):
                return await self._reads_back(step, read)
            case checks.SignsIn(read=read):
                return await self._signs_in(step, read)
            case checks.Nothing():
                raise AssertionError("it shows nothing")

    # The subscriber's record ----------------------------------------------------------------------

    async def _inserted(self, step: NativeStep) -> Reading | Unread:
        found = await self._records.subscriber(person_of(step))
        if not isinstance(found, Record):
            return Reading(present=False) if isinstance(found, Absent) else found
        number = found.fields.get("id")
        wrong = differing(step.ordered, found.fields)
        others = wrong or filled_in(step.params[_object(step)], step.ordered, found.fields)
        record = ours(found.fields, secrets=False)
        return Reading(True, not wrong, others, None if number is None else str(number), record=record)

    async def _subscriber(self, step: NativeStep) -> Reading | Unread:
        found = await self._records.subscriber(person_of(step))
        if not isinstance(found, Record):
            return Reading(present=False) if isinstance(found, Absent) else found
        return Reading(present=True, record=ours(found.fields, secrets=False))

    async def _shows(self, step: NativeStep, wanted: Mapping[str, bool | Param]) -> Reading | Unread:
        found = await self._records.subscriber(person_of(step))
        if not isinstance(found, Record):
            return nothing_set() if isinstance(found, Absent) else found
        kinds = {field.name: field.type for field in type_of("subscriberDTO")}
        matches = all(
            found.fields.get(name) is not None
            and same(
                kinds[name],
                step.find(value.name) if isinstance(value, Param) else value,
                found.fields[name],
            )
            for name, value in wanted.items()
        )
        return Reading(matches=matches)

    async def _profile(self, step: NativeStep, names: str) -> Reading | Unread:
        """The record holds a name, the order a number: the list of profiles has both."""
        name = person_of(step)
        rows = await self.rows(names, {"domain": name.domain})
        if not isinstance(rows, list):
            return rows
        found = await self._records.subscriber(name)
        if not isinstance(found, Record):
            return nothing_set() if isinstance(found, Absent) else found
        called = {row.get("profile") for row in rows if row.get("id") == step.params["newProfileId"]}
        return Reading(matches=found.fields.get("profile") in called - {None})

    # Objects --------------------------------------------------------------------------------------

    async def current(self, step: NativeStep) -> Row | Unread | None:
        """What an update is about, as it is now; None, or for a subscriber `not_found`: it is not there."""
        check = step.operation.check
        assert isinstance(check, checks.AsSent)
        if check.read == RECORD:
            found = await self._records.subscriber(person_of(step))
            if isinstance(found, Record):
                return normalised(found.fields, type_of("subscriberDTO"))
            return nobody(person_of(step), found.said) if isinstance(found, Absent) else found
        if not check.id:
            return await self._single(check.read, step.place(check.by))
        rows = await self.rows(check.read, step.place(check.by))
        if not isinstance(rows, list):
            return rows
        return next((row for row in rows if row.get(check.id) == step.find(check.id)), None)

    async def _as_sent(self, step: NativeStep) -> Reading | Unread:
        current = await self.current(step)
        if current is None or (isinstance(current, Refused) and current.code is Code.NOT_FOUND):
            return nothing_set()
        if not isinstance(current, Mapping):
            return current
        whole = step.operation.object
        assert whole is not None
        for field in whole.fields:
            if field.name not in step.ordered or field.name in PLACES | MOVING:
                continue
            if not await self._agrees(step, field, current):
                return Reading(present=True, matches=False)
        return Reading(present=True, matches=True)

    async def _agrees(self, step: NativeStep, field: Field, current: Row) -> bool:
        if field.name in NOT_SHOWN:
            return False  # it may be so, and nothing says it
        wanted, found = step.ordered[field.name], current.get(ELSEWHERE.get(field.name, field.name))
        if field.name in SECRET_READS:
            read = await self._client.call(SECRET_READS[field.name], person_of(step).arguments)
            return isinstance(read.what, Answered) and read.what.value == wanted
        return same(field.type, wanted, found)

    async def _there(self, step: NativeStep, check: checks.There) -> Reading | Unread:
        rows = await self.rows(check.read, step.place(check.by))
        if not isinstance(rows, list):
            return rows
        fields = OPERATIONS[check.read].returns
        assert fields is not None
        kinds = {field.name: field.type for field in fields.fields}
        pairs = [(sent, first(rows, sent, check.same, kinds)) for sent in step.sent]
        here = [(sent, row) for sent, row in pairs if row is not None]
        if not here:
            return Reading(present=False)
        wrong = tuple(dict.fromkeys(name for sent, row in here for name in differences(sent, row, kinds)))
        if len(here) < len(pairs):
            wrong += (f"{len(pairs) - len(here)} of {len(pairs)} are not there",)
        many = step.operation.object is not None and step.operation.object.many
        number = None if many else here[0][1].get("id")
        shown = without_secrets(plain(here[0][1]))
        return Reading(True, not wrong, wrong, None if number is None else str(number), record=shown)

    async def _gone(self, step: NativeStep, check: checks.Gone) -> Reading | Unread:
        rows = await self.rows(check.read, step.place(check.by))
        if not isinstance(rows, list):
            return rows
        left = [
            row
            for row in rows
            if all(str(row.get(name)) == str(step.params[sent]) for name, sent in check.same.items())
        ]
        if not left:
            return Reading(present=False)
        return Reading(present=True, record=without_secrets(plain(left[0])))

    async def _grouped(self, step: NativeStep, gone: bool) -> Reading | Unread:
        manager, accounts = step.params["accountManager"], set(step.params["account"])
        group = await self._single("AccountGroupWS.retrieveAccountGroup", {"accountManager": manager})
        if group is not None and not isinstance(group, Mapping):
            return group
        listed = set((group or {}).get("account") or ())
        if gone:
            there = sorted(accounts & listed)
            return Reading(present=bool(there), record={"account": there} if there else {})
        if not accounts <= listed:
            return Reading(present=False)
        agrees = (group or {}).get("managerProfile") == step.params["managerProfile"]
        return Reading(True, agrees, () if agrees else ("managerProfile",))

    # Money and secrets ----------------------------------------------------------------------------

    async def _balance(self, step: NativeStep, read: str, before: Reading | None) -> Reading | Unread:
        if read == "SubscriberWS.retrieveCredit":
            return await self._balances.read(person_of(step), step, before)
        # What calls took from a reseller is not told by anything that names the reseller alone.
        name, domain = step.params["resellerName"], step.params["domain"]
        rows = await self.rows("ResellerWS.listByDomain", {"domain": domain})
        if not isinstance(rows, list):
            return rows
        number = next((row.get("id") for row in rows if row.get("name") == name), None)
        if number is None:
            return Refused(Code.NOT_FOUND, f"no reseller {name} in {domain}", certain=True)
        what = (await self._client.call(read, {"resellerId": number})).what
        if not isinstance(what, Answered):
            return what
        if not isinstance(what.value, (float, Decimal)):
            return Unclear("garbage")
        return Reading(balance=money(what.value))

    async def _reads_back(self, step: NativeStep, read: str) -> Reading | Unread:
        what = (await self._client.call(read, person_of(step).arguments)).what
        if not isinstance(what, Answered):
            return await self._records.explained(person_of(step), what)
        value = self._trust.retrieved(what.value)
        if value is None and self._trust.signs_in(read):
            return await self._signs_in(step, SIGN_IN)
        new, old = step.params["newPassword"], step.params.get("actualPassword")
        if old is None:  # the order does not say which it replaces: whichever there is
            return Reading(matches=value == new, old_secret_works=value not in (None, new))
        return Reading(matches=value == new, old_secret_works=value == old)

    async def _signs_in(self, step: NativeStep, read: str) -> Reading | Unread:
        new = await self._accepted(step, read, "newPassword")
        if not isinstance(new, bool):
            return new
        if new or "actualPassword" not in step.params:
            return Reading(matches=new)
        old = await self._accepted(step, read, "actualPassword")
        return Reading(matches=False, old_secret_works=old) if isinstance(old, bool) else old

    async def _accepted(self, step: NativeStep, read: str, which: str) -> bool | Unread:
        secret = step.params[which]
        arguments = {**person_of(step).arguments, "password": secret}
        what = (await self._client.call(read, arguments, secrets=[secret])).what
        if isinstance(what, Answered):
            return not is_nameless(what.value)
        if isinstance(what, Refused) and isinstance(await self._control(), Answered):
            return False  # it complains of this password, not of everything
        return what

    # Reads ----------------------------------------------------------------------------------------

    async def rows(self, read: str, arguments: Mapping[str, Any]) -> list[dict[str, Any]] | Unread:
        """The entries of a list, under the names of the catalogue."""
        what = (await self._client.call(read, arguments)).what
        if self._records.may_mean_none(what) and await self._is_none(read, arguments, what):
            return []
        if not isinstance(what, Answered):
            return what
        returns = OPERATIONS[read].returns
        assert returns is not None
        values = what.value if isinstance(what.value, list) else [what.value]
        if not any(isinstance(each, Mapping) for each in values):
            self._records.learn_empty(read, arguments)
        return [normalised(each, returns.fields) for each in values if isinstance(each, Mapping)]

    async def _single(self, read: str, arguments: Mapping[str, Any]) -> Row | Unread | None:
        rows = await self.rows(read, arguments)
        return rows if not isinstance(rows, list) else next(iter(rows), None)

    async def _is_none(self, read: str, arguments: Mapping[str, Any], what: Answered | Unread) -> bool:
        return await self._records.nothing(read, arguments, what)


def unseen(step: NativeStep) -> Reading | Unread:
    """Nothing shows it: a creation goes on without having looked; of all else nobody asks."""
    if step.effect is Effect.CREATE:
        return Reading()
    return Refused(Code.NOT_FOUND, f"no read shows what {step.name} did", certain=True)


def nothing_set() -> Reading:
    """A set had no effect on what is not there: called again, it will be refused."""
    return Reading(present=False, matches=False)


def person_of(step: NativeStep) -> Name:
    name = step.person
    assert name is not None, step.name
    return name


def _object(step: NativeStep) -> str:
    assert step.operation.object is not None
    return step.operation.object.name


def normalised(row: Row, fields: Iterable[Field]) -> dict[str, Any]:
    """Under the names of the catalogue, whichever way this server spells them; what it has besides stays."""
    found, left = {}, {name.lower(): name for name in row}
    for field in fields:
        for name in (field.name, *field.others):
            if name.lower() in left:
                found[field.name] = row[left.pop(name.lower())]
                break
    return {**found, **{name: row[name] for name in left.values()}}


def first(rows: Iterable[Row], sent: Row, names: tuple[str, ...], kinds: Mapping[str, str]) -> Row | None:
    """The entry that is the one that was sent."""
    return next((row for row in rows if all(agrees(name, sent, row, kinds) for name in names)), None)


def differences(sent: Row, row: Row, kinds: Mapping[str, str]) -> list[str]:
    """Fields of an entry that are otherwise than they were sent; secrets are not read back."""
    shown = [name for name in sent if name in row and name in kinds and name not in ("id", "password")]
    return [name for name in shown if not agrees(name, sent, row, kinds)]


def agrees(name: str, sent: Row, row: Row, kinds: Mapping[str, str]) -> bool:
    wanted, found = sent.get(name), row.get(name)
    if wanted is None and found is None:
        return True
    if name == "domain":
        return str(wanted or "").lower() == str(found or "").lower()
    if wanted is None:
        return found == ""
    return same(kinds[name], wanted, found)


def plain(value: Any) -> Any:
    """As JSON has it: money and other doubles as decimal texts, what is empty left out."""
    match value:
        case bool():
            return value
        case float():
            return f"{Decimal(repr(value)):f}"
        case Decimal():
            return f"{value:f}"
        case Mapping():
            return {name: plain(inner) for name, inner in value.items() if inner is not None}
        case list() | tuple():
            return [plain(each) for each in value]
        case _:
            return value
