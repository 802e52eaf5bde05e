"""subscriber.update: each change by the narrowest operation that the server has, the rest by updateSubscriber. Pure.

What overwrites more than was ordered goes first: where that cannot be done safely, nothing has been done yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from worker.messages.errors import Code
from worker.messages.sippulse.checks import Param, Shows
from worker.messages.sippulse.operations import OPERATIONS
from worker.platforms.planning import Wrong
from worker.platforms.sippulse.fields import BY_WIRE, Scalar, flat
from worker.platforms.sippulse.given import fields_in, typed
from worker.platforms.sippulse.looks import ELSEWHERE, PLACES
from worker.platforms.sippulse.records import Name
from worker.platforms.sippulse.steps import Maker, NativeStep

WHOLE = "SubscriberWS.updateSubscriber"
FORWARDS = "SubscriberWS.updateSubscriberClassV"
SERVICES = "SubscriberWS.updateSubscriberServices"
BILLING = "SubscriberWS.updateSubscriberBillingInfo"
PROFILE = "SubscriberWS.changeProfile"
# By the profile's name: its number is read before the call, and need not be read after it.
PROFILE_BY_NAME = replace(OPERATIONS[PROFILE], check=Shows({"profile": Param("profile")}))
PASSWORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "password": ("SubscriberWS.changePassword", "SubscriberWS.retrievePassword"),
        "passwordPortal": ("SubscriberWS.changePasswordWEB", "SubscriberWS.retrievePasswordWEB"),
    }
)
# Field of the record -> the operations that make it true and false.
SWITCHES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "activeOutgoingCalls": ("activateOutgoingCalls", "blockOutgoingCalls"),
        "activeIncomingCalls": ("activateIncommingCalls", "blockIncommingCalls"),
        "blockCollectCalls": ("blockCollectCalls", "activateCollectCalls"),
        "blockAnonymousCalls": ("blockAnonymousCalls", "activateAnonymousCalls"),
        "blockEntry0303": ("blockEntry0303", "activateEntry0303"),
        "validateSource0303": ("activateValidateSource0303", "disableValidateSource0303"),
        "callsOnlyByIp": ("activateCallsOnlyByIp", "blockCallsOnlyByIp"),
        "softphoneAllowed": ("activateSoftphone", "blockSoftphone"),
    }
)


class Changes:
    """What is left to be written, by the platform's names, and what has been given to an operation."""

    def __init__(self, maker: Maker, name: Name, data: Mapping[str, Any]) -> None:
        """`data`: the command's `changes`. Raises Wrong."""
        self._maker, self._name = maker, name
        self._left: dict[str, Scalar] = fields_in(data, "changes.")
        self._called = called(data)
        self._rates = _rates(data)
        if "accountCode" in self._left:
            place = "changes.platform_fields.accountCode"
            raise Wrong(
                Code.INVALID_FIELD, f"{place} is made of the subscriber's name by the platform", place
            )

    def steps(self) -> tuple[NativeStep, ...]:
        parts = [*self._part(FORWARDS), *self._services(), *self._part(BILLING)]
        single = [*self._profile(), *self._voicemail(), *self._low_credit(), *self._switches()]
        secret = [] if self._rest() else self._passwords()
        whole = [self._update(WHOLE, tuple(self._left))] if self._left else []
        return (*whole, *parts, *secret, *single)

    def _rest(self) -> set[str]:
        """What no narrower operation writes. updateSubscriber writes passwords too: those ordered go along."""
        return self._left.keys() - PASSWORDS.keys()

    # Operations, each of which takes its fields away ----------------------------------------------

    def _part(self, endpoint: str) -> list[NativeStep]:
        """A part of the record."""
        fields = [name for name in _fields(endpoint) if name in self._left]
        return [self._update(endpoint, fields)] if fields and self._writes(endpoint) else []

    def _services(self) -> list[NativeStep]:
        """Only where cps and keepAlive are ordered: it writes both, and no read shows what they were."""
        if not self._rates:
            return []
        fields = [name for name in _fields(SERVICES) if name in self._left]
        return [self._update(SERVICES, fields, **self._rates)]

    def _profile(self) -> list[NativeStep]:
        if "profile" not in self._left or not self._writes(PROFILE):
            return []
        if not self._maker.answers("ProfileWS.listProfilesByDomain", "id"):
            return []
        wanted = {"profile": self._left["profile"]}
        return [self._single(PROFILE_BY_NAME, ["profile"], look_in=wanted)]

    def _voicemail(self) -> list[NativeStep]:
        on, secret = self._left.get("voicemail"), self._left.get("voiceMailPassword")
        fields = ["voicemail", "voiceMailPassword"]
        if on is True and secret is not None and self._has("activateVoicemail"):
            return [self._single("SubscriberWS.activateVoicemail", fields, voicemailPassword=secret)]
        if on is False and secret is None and self._has("blockVoicemail"):
            return [self._single("SubscriberWS.blockVoicemail", fields)]
        return []

    def _low_credit(self) -> list[NativeStep]:
        on, limit = self._left.get("lowCreditNotification"), self._left.get("lowCreditLimit")
        fields = ["lowCreditLimit", "lowCreditNotification"]
        if on is True and limit is not None and self._has("activateLowCreditNotification"):
            endpoint = "SubscriberWS.activateLowCreditNotification"
            return [self._single(endpoint, fields, lowCreditLimit=limit)]
        if on is False and limit is None and self._has("blockLowCreditNotification"):
            return [self._single("SubscriberWS.blockLowCreditNotification", fields)]
        return []

    def _switches(self) -> list[NativeStep]:
        made = []
        for field, (true, false) in SWITCHES.items():
            operation = true if self._left.get(field) else false
            if field in self._left and self._has(operation):
                made.append(self._single(f"SubscriberWS.{operation}", [field]))
        return made

    def _passwords(self) -> list[NativeStep]:
        made = []
        for field, (change, read) in PASSWORDS.items():
            if field in self._left and self._maker.has(change) and self._maker.has(read):
                made.append(
                    change_password(self._maker, change, self._name, self._left[field], **self._take([field]))
                )
        return made

    # Making them ----------------------------------------------------------------------------------

    def _update(self, endpoint: str, fields: Iterable[str], **more: Scalar) -> NativeStep:
        wanted = part(endpoint, {name: self._left[name] for name in fields})
        ordered = {**self._name.arguments, **wanted, **more}
        return self._maker.update(endpoint, ordered, **self._take([*fields, *more]))

    def _single(
        self, operation: Any, fields: Iterable[str], look_in: Any = None, **params: Any
    ) -> NativeStep:
        promised = self._take(fields)
        return self._maker.step(
            operation, {**self._name.arguments, **params}, look_in=look_in or {}, **promised
        )

    def _take(self, fields: Iterable[str]) -> dict[str, Any]:
        """They are no more left; what the step promises of them."""
        for field in fields:
            self._left.pop(field, None)
        return {"promises": {"changed": [self._called[name] for name in fields if name in self._called]}}

    def _has(self, operation: str) -> bool:
        return self._maker.has(f"SubscriberWS.{operation}")

    def _writes(self, endpoint: str) -> bool:
        """The server has it, and what is read before it."""
        reads = {FORWARDS: "SubscriberWS.retrieveSubscriberClassV", PROFILE: "ProfileWS.listProfilesByDomain"}
        return self._maker.has(endpoint) and (endpoint not in reads or self._maker.has(reads[endpoint]))


def forwarding(maker: Maker, name: Name, data: Mapping[str, Any]) -> tuple[NativeStep, ...]:
    """forwarding.set: as a change of the subscriber."""
    wanted = {part: data[part] for part in ("always", "busy", "no_answer") if data.get(part) is not None}
    steps = Changes(maker, name, {"forwarding": wanted}).steps()
    return tuple(replace(step, promises={}) for step in steps)


def change_password(
    maker: Maker, operation: str, name: Name, new: Any, old: Any = None, **more: Any
) -> NativeStep:
    """`old` None: it is read just before the call."""
    params = {**name.arguments, "newPassword": new, "confirmNewPassword": new}
    return maker.step(operation, params if old is None else {**params, "actualPassword": old}, **more)


def called(data: Mapping[str, Any]) -> dict[str, str]:
    """Field of the platform -> its name in `changes`."""
    plain = {name: value for name, value in data.items() if name != "platform_fields"}
    ours = {path for path, _ in flat(plain)}
    found = {field.wire: field.ours for field in BY_WIRE.values() if field.ours in ours}
    found |= {"cps": "cps", "keepAlive": "keep_alive"}
    own = data.get("platform_fields") or {}
    return found | {name: f"platform_fields.{name}" for name, value in own.items() if value is not None}


def _rates(data: Mapping[str, Any]) -> dict[str, Scalar]:
    """cps and keepAlive: both, or neither."""
    given = {name: data[name] for name in ("cps", "keep_alive") if data.get(name) is not None}
    if len(given) == 1:
        missing = "keep_alive" if "cps" in given else "cps"
        raise Wrong(
            Code.MISSING_FIELD,
            "cps and keep_alive are needed together: the platform writes both at once and shows neither, so the "
            "other one would be lost",
            f"changes.{missing}",
        )
    wire = {"cps": "cps", "keep_alive": "keepAlive"}
    return {wire[name]: typed(f"changes.{name}", "int", value) for name, value in given.items()}


def _fields(endpoint: str) -> list[str]:
    """Names in the record of what the operation's object holds."""
    whole = OPERATIONS[endpoint].object
    assert whole is not None
    return [ELSEWHERE.get(each.name, each.name) for each in whole.fields if each.name not in PLACES]


def part(endpoint: str, record: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """What of a record the operation's object holds, under its names."""
    whole = OPERATIONS[endpoint].object
    assert whole is not None
    named = {each.name: ELSEWHERE.get(each.name, each.name) for each in whole.fields}
    return {here: record[there] for here, there in named.items() if there in record}
