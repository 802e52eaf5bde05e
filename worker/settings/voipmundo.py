"""What nobody could tell us of a VoIPMundo: names that its documents do not show, and what is assumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from worker.settings.section import Section
from worker.settings.values import Seconds, zone

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,63}$")]
MaybeName = Annotated[str, StringConstraints(pattern=r"^([A-Za-z_][A-Za-z0-9_.]{0,63})?$")]


class VoipmundoCredit(Section):
    """manageCredit: no document shows its parameters. Until `customer` and `amount` are named, credit is off."""

    customer: MaybeName = Field(default="", description="name of the parameter with the client's id")
    amount: MaybeName = Field(default="", description="name of the parameter with the amount")
    note: MaybeName = Field(default="", description="name of the parameter with a note; empty: none is sent")
    constants: Mapping[Name, str | int] = Field(
        default={}, description='what else is sent every time, e.g. `{ operation = "credit" }`'
    )
    decimals: Literal["point", "comma"] = Field(default="point", description="how the amount is written")
    lag: Seconds = Field(
        default=10.0, description="two readings of a balance so far apart have to agree before they count"
    )


class VoipmundoAssume(Section):
    """What the documents leave open, where the safe default is not right."""

    partial_update: bool = Field(
        default=False,
        description="a change of a client leaves the fields alone that are not sent. Off, `subscriber.update` is "
        "rejected `cannot_update_safely`: no read shows what would have to be sent along. Wrongly on: they are lost",
    )
    created_id: MaybeName = Field(
        default="customer_id",
        description="field of the reply to a create with the new id, as the reply to statusCustomer calls it; where "
        "the reply has no such field `platform_id` is null",
    )
    balance: MaybeName = Field(
        default="",
        description="field of the reply of getCustomerBalance with the balance; empty: `credit.get` is off",
    )
    time_zone: Annotated[str, AfterValidator(zone)] = Field(
        default="America/Sao_Paulo", description="of the days and times of call records"
    )
