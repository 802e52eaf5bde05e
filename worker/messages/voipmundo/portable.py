"""The data of the portable commands as VoIPMundo takes them. Names and meanings are public."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationInfo, create_model, field_validator

from worker.messages.commands import CALL_KINDS, CallKind, CallRecordsList, Command, Part, PostalAddress
from worker.messages.fields import INT, PRINTABLE, Email, Money, Note, Secret, Text, Whole, wrong

WireName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
Id = Annotated[int, Whole(1, INT)]


class VoipmundoSubscriber(Part):
    id: Id = Field(description="the client's id on the platform")


class VoipmundoCommand(Command):
    """The data of a command about one client of VoIPMundo."""

    subscriber: VoipmundoSubscriber = Field(description="whom it is about")

    def object_name(self) -> str:
        return f"subscriber:{self.subscriber.id}"


Flag = Annotated[int, Whole(0, 1)]
Number = Annotated[int, Whole()]

# The body of manageCustomers as far as the vendor's page shows it, under the platform's own names.
CUSTOMER: dict[str, Any] = {
    **dict.fromkeys(("id_hie", "id_origem", "id_vinculo", "id_vendedor"), Number),
    **dict.fromkeys(("nome_fantasia", "razao_social", "cpf", "rg", "website"), Text),
    **dict.fromkeys(("cep", "endereco", "complemento", "bairro", "cidade", "uf", "pais"), Text),
    **dict.fromkeys(("telefone", "ramal", "telefone2", "celular", "fax", "contato"), Text),
    **{name: kind for base in ("email", "email2", "email_financeiro") for name, kind in ((base, Email), (f"{base}_st", Flag))},
    **dict.fromkeys(
        (
            "tem_ramal",
            "tem_did",
            "tem_sms",
            "tem_escuta",
            "tem_ip_global",
            "tem_gravacao",
            "tem_sigame",
            "tem_fila",
            "tem_ura",
            "tem_portal",
            "tem_callingcard",
            "tem_grupo_captura",
            "tem_grupo_chamada",
            "tem_campanha_sms",
        ),
        Flag,
    ),
}  # fmt: skip
# The portable name of a field that has one: both at once would leave open which of them is meant.
PORTABLE_NAMES: Mapping[str, str] = {
    "nome_fantasia": "first_name",
    "cpf": "document",
    "email": "email",
    "telefone": "phone",
    "celular": "mobile",
    "endereco": "address.street",
    "complemento": "address.complement",
    "bairro": "address.district",
    "cidade": "address.city",
    "uf": "address.state",
    "cep": "address.postal_code",
    "id_hie": "reseller_id",
}


class MoreFields(Part):
    """What every object of manageCustomers may hold beside what the page shows."""

    more: dict[WireName, Secret] | None = Field(
        default=None,
        description="fields that the vendor's page does not show, each named in `more_fields` of the settings; "
        "their values are kept as secrets",
    )


_FIELDS: dict[str, Any] = {name: (kind | None, None) for name, kind in CUSTOMER.items()}
VoipmundoFields: type[Part] = create_model(
    "VoipmundoFields",
    __base__=MoreFields,
    __doc__="Fields of manageCustomers under VoIPMundo's own names.",
    **_FIELDS,
)


class CustomerParts(Part):
    """What may be said of a client, portable names first."""

    first_name: Text | None = Field(
        default=None, description="first name; the trade name is made of first and last name"
    )
    last_name: Text | None = Field(default=None, description="last name")
    document: Text | None = Field(default=None, description="CNPJ or CPF")
    address: PostalAddress | None = Field(default=None, description="postal address")
    email: Email | None = Field(default=None, description="e-mail address")
    phone: Text | None = Field(default=None, description="telephone")
    mobile: Text | None = Field(default=None, description="mobile telephone")
    reseller_id: Number | None = Field(default=None, description="reseller; 0: none")
    platform_fields: VoipmundoFields | None = Field(  # type: ignore[valid-type]  # made from the table above
        default=None, description="fields without a portable name, as the platform's schema spells them"
    )

    @field_validator("platform_fields")
    @classmethod
    def _says_nothing_twice(cls, value: Part | None, info: ValidationInfo) -> Part | None:
        for name in value.model_fields_set if value else ():
            portable = PORTABLE_NAMES.get(name)
            if portable and _sent(info.data, portable):
                raise wrong(f"{name} stands twice: {portable} says the same, leave one of them out")
        return value


def _sent(data: dict[str, Any], path: str) -> bool:
    value: Any = data
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    return value is not None


class SubscriberCreateVoipmundo(CustomerParts, Command):
    if_exists: Literal["reject", "adopt"] = Field(
        default="reject", description="what to do when a client of that name is there already"
    )

    def object_name(self) -> str | None:
        """Its id is not known yet: the document names it, else the message's idempotency key."""
        own = getattr(self.platform_fields, "cpf", None)
        document = self.document or own
        return f"subscriber:new:{document}" if document else None


class SubscriberUpdateVoipmundo(VoipmundoCommand):
    changes: CustomerParts = Field(description="what is to change, as in subscriber.create")

    @field_validator("changes")
    @classmethod
    def _something(cls, value: CustomerParts) -> CustomerParts:
        if not value.model_fields_set:
            raise wrong("it is empty: name at least one field to change")
        return value


class SubscriberGetVoipmundo(VoipmundoCommand):
    pass


class SubscriberRemoveVoipmundo(VoipmundoCommand):
    pass


class SubscriberBlockVoipmundo(VoipmundoCommand):
    pass


class SubscriberActivateVoipmundo(VoipmundoCommand):
    pass


class CallsVoipmundo(VoipmundoCommand):
    kinds: list[CallKind] = Field(
        default=["outgoing"],
        min_length=1,
        max_length=len(CALL_KINDS),
        json_schema_extra={"uniqueItems": True},
        description="which calls: `outgoing` and `incoming` together, no others",
    )

    @field_validator("kinds")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise wrong("a kind stands twice: name each once")
        return value


class CallsBlockVoipmundo(CallsVoipmundo):
    pass


class CallsUnblockVoipmundo(CallsVoipmundo):
    pass


class CreditAddVoipmundo(VoipmundoCommand):
    amount: Annotated[Decimal, Money()] = Field(
        description="what is added, in the platform's currency unit, as fine as `credit_step` at most"
    )
    note: Note | None = Field(
        default=None, description="kept by the platform with the entry, where `credit.note` is set"
    )


class CreditGetVoipmundo(VoipmundoCommand):
    pass


# Of manageDID, beside the number and the client.
DID: dict[str, Any] = {
    **dict.fromkeys(("rate_id", "rate_cost_id", "did_type_id", "device_id"), Number),
    **dict.fromkeys(("description", "host", "username", "callerid_add"), Text),
    **dict.fromkeys(("techprefix1", "ip_address1", "techprefix2", "ip_address2"), Text),
    **dict.fromkeys(("port", "port1", "port2"), Annotated[int, Whole(1, 65535)]),
    "did_type": Literal[0, 1, 4, 5, 6, 8, 9, 10],
    "password": Secret,
}
_DID_FIELDS: dict[str, Any] = {name: (kind | None, None) for name, kind in DID.items()}
VoipmundoDid: type[Part] = create_model(
    "VoipmundoDid", __base__=Part, __doc__="Fields of manageDID under VoIPMundo's own names.", **_DID_FIELDS
)


class NumberAssignVoipmundo(VoipmundoCommand):
    number: Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=PRINTABLE)] = Field(
        description="the number"
    )
    platform_fields: VoipmundoDid | None = Field(  # type: ignore[valid-type]  # made from the table above
        default=None,
        description="where its calls go (`did_type`, `device_id`, …), as the platform's schema spells it",
    )


class CallRecordsListVoipmundo(CallRecordsList, VoipmundoCommand):
    pass


# Portable command -> the model of its data. What is not here is not offered.
MODELS: Mapping[str, type[Command]] = {
    "subscriber.create.v1": SubscriberCreateVoipmundo,
    "subscriber.update.v1": SubscriberUpdateVoipmundo,
    "subscriber.get.v1": SubscriberGetVoipmundo,
    "subscriber.remove.v1": SubscriberRemoveVoipmundo,
    "subscriber.block.v1": SubscriberBlockVoipmundo,
    "subscriber.activate.v1": SubscriberActivateVoipmundo,
    "calls.block.v1": CallsBlockVoipmundo,
    "calls.unblock.v1": CallsUnblockVoipmundo,
    "credit.add.v1": CreditAddVoipmundo,
    "credit.get.v1": CreditGetVoipmundo,
    "number.assign.v1": NumberAssignVoipmundo,
    "call_records.list.v1": CallRecordsListVoipmundo,
}

# What is not offered, and why.
NOT_OFFERED: Mapping[str, str] = {
    "password.change.v1": "no document shows how a line or a user of the panel gets another password",
    "number.release.v1": "no document shows how a number (DID) is taken back",
    "number.list.v1": "no document shows a list of numbers (DID)",
    "forwarding.set.v1": "forwarding is set where a line is made (voipmundo.manageDevices.create), and no document "
    "shows how a line is changed",
}
