"""What nobody could tell us of a SIPPulse: what is assumed of it, with what is safe as the default."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from worker.settings.section import Section

Whole = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Amount = Annotated[Decimal, Field(max_digits=15, allow_inf_nan=False)]

NEW = "of a new subscriber, where the order does not say it"


class SippulseAssume(Section):
    """`worker platforms learn` measures most of these on a staging platform.

    Below the keys that say how the platform behaves stand fields of subscriberDTO, under its own names:
    what `insertSubscriber` is sent where the order does not say it.
    """

    absent_is_undeclared_fault: bool = Field(
        default=False,
        description="a read answers a fault that its WSDL does not declare where there is no such subscriber. "
        "Off, such a fault is a lost answer: read again, in the end left to a person. Wrongly on: nothing is "
        "taken for absent that a control read and a name that cannot exist do not confirm",
    )
    absent_writes: Literal["refused", "silent"] = Field(
        default="refused",
        description="what a write to a subscriber that is not there is answered. `silent`: the subscriber is "
        "read before every write. Wrongly `refused`: a block or another flag for nobody ends `succeeded` "
        "though nothing was changed; credit, creation, removal and updates read first in any case",
    )
    duplicates: Literal["doubled", "refused"] = Field(
        default="doubled",
        description="what a second insert of the same becomes. It is looked for before and after in any case; "
        "`refused` also repeats after a lost answer what no read shows (aliases), where else a person decides. "
        "Wrongly `refused`: such an alias may be there twice",
    )
    already_reached: Literal["accepted", "refused"] = Field(
        default="accepted",
        description="what activate… and block… of a state that is reached already are answered. `refused`: a "
        "refusal is held against the record, and the state that was ordered counts as done. Wrongly "
        "`accepted`: rejected `platform_refused`, and after a lost answer parked",
    )
    left_out: Literal["cleared", "kept"] = Field(
        default="cleared",
        description="what becomes of a field that updateSubscriber is not sent. All that can be read is sent "
        "back in any case; `kept` leaves out a password that is not shown instead of rejecting "
        "`cannot_update_safely`. Wrongly `kept`: that password is lost, and the subscriber cannot register",
    )
    passwords: Literal["as_they_look", "returned", "empty", "masked"] = Field(
        default="as_they_look",
        description="how passwords stand in a record that was read. `as_they_look`: *** and the like are no "
        "passwords; `returned`: whatever stands there is one; `empty` and `masked`: never one, whatever stands "
        "there. Wrongly `returned`, or with a mask that does not look like one: an update writes the mask over "
        "the password",
    )
    retrieve_password: Literal["as_it_looks", "clear", "hidden"] = Field(
        default="as_it_looks",
        description="the same of retrievePassword and retrievePasswordWEB. `hidden`: they are not asked",
    )
    customer_password: Literal["unknown", "sip", "portal"] = Field(
        default="unknown",
        description="which password the operations of CustomerWS take. Where retrievePassword hides it, a lost "
        "answer to its change is settled by signing in. `unknown`: a person decides. Wrongly set: a person decides "
        "all the same",
    )
    rounding: Literal["exact", "cents"] = Field(
        default="exact",
        description="whether the balance is kept in cents, so that a call takes a rounded price off it. "
        "`cents`: half a cent is allowed for each call when a lost credit is looked for. Wrongly `exact`: more "
        "is left to a person",
    )
    numbers: Literal["listed", "any"] = Field(
        default="listed",
        description="whether a number has to be listed as available (listAvailablesNumbers) before it is given to a "
        "subscriber; if not, it is rejected `not_found`. Wrongly `any`: a number of somebody else's may be given "
        "away, if the platform does not refuse it",
    )
    all_documented_operations: bool = Field(
        default=False,
        description="the bundled WSDLs offer also what the one running server that we know does not have",
    )
    cps: Whole = Field(
        default=0, description="calls a second of a new subscriber, where only `keep_alive` is ordered"
    )
    keep_alive: Whole = Field(default=0, description="the same, where only `cps` is ordered")

    activeIncomingCalls: bool | None = Field(default=None, description=NEW)
    activeOutgoingCalls: bool | None = Field(default=None, description=NEW)
    addServiceHeader: bool | None = Field(default=None, description=NEW)
    blockAnonymousCalls: bool | None = Field(default=None, description=NEW)
    blockCollectCalls: bool | None = Field(default=None, description=NEW)
    blockEntry0303: bool | None = Field(default=None, description=NEW)
    callsOnlyByIp: bool | None = Field(default=None, description=NEW)
    copyPassertedRpid: bool | None = Field(default=None, description=NEW)
    lowCreditLimit: Amount | None = Field(default=None, description=NEW)
    lowCreditNotification: bool | None = Field(default=None, description=NEW)
    resellerBillingType: Whole | None = Field(default=None, description=NEW)
    resellerId: Whole | None = Field(default=None, description=NEW)
    resellerMarkup: Amount | None = Field(default=None, description=NEW)
    resellerRatePlanId: Whole | None = Field(default=None, description=NEW)
    rings: Whole | None = Field(default=None, description=NEW)
    softphoneAllowed: bool | None = Field(default=None, description=NEW)
    validateSource0303: bool | None = Field(default=None, description=NEW)
    voicemail: bool | None = Field(default=None, description=NEW)

    @property
    def new_subscriber(self) -> dict[str, Any]:
        """Fields of a new subscriber that the settings name, by the platform's names."""
        return {name: value for name in FIELDS if (value := getattr(self, name)) is not None}


# Those of subscriberDTO, which have its spelling.
FIELDS = tuple(name for name, field in SippulseAssume.model_fields.items() if field.description == NEW)
