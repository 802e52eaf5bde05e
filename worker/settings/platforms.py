"""The settings of a platform: what all kinds have, and what each kind adds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from worker.settings.assume import SippulseAssume
from worker.settings.section import Section
from worker.settings.values import (
    DAY,
    Count,
    File,
    Money,
    Seconds,
    Secret,
    Url,
    database,
    patterns,
    select,
    zone,
)
from worker.settings.voipmundo import Name as ResourceName
from worker.settings.voipmundo import VoipmundoAssume, VoipmundoCredit

LOOPBACK = re.compile(r"http://(localhost|127\.|\[::1\])")
HERE = re.compile(r"localhost|127\.[0-9.]+|::1")


class LimitSettings(Section):
    credit_max: Money | None = Field(
        default=None, description="largest amount of one `credit.add`; above: `over_limit`"
    )
    credit_per_subscriber_day: Money | None = Field(
        default=None, description="credit of one subscriber in 24 hours; above: parked"
    )
    credit_per_hour: Money | None = Field(
        default=None, description="credit of the whole platform in an hour; above: parked"
    )
    removes_per_hour: Count | None = Field(
        default=None, description="removals of subscribers in an hour, portable and native; above: parked"
    )
    negative_credit: bool = Field(
        default=False, description="whether native commands may book a negative credit"
    )


class CallRecordSettings(Section):
    url: Annotated[Secret, AfterValidator(database)] | None = Field(
        default=None,
        description="the platform's database, read only, `mysql://user:password@host:3306/name`; none: any unexplained "
        "difference is parked, and `call_records.list` is refused",
    )
    tls: Literal["auto", "on"] = Field(
        default="auto",
        description="`on`: nothing goes over a connection that is not encrypted; `auto`: the same where `ca` is given, "
        "else nothing is encrypted",
    )
    ca: File | None = Field(
        default=None,
        description='file with the authorities that sign the database\'s certificate; none, with `tls = "on"`: the '
        "system's",
    )
    verify: bool = Field(
        default=True, description="check the database's certificate, and that it is for the host in `url`"
    )
    time_zone: Annotated[str, AfterValidator(zone)] = Field(
        default="UTC",
        description="zone of the times in the call records, e.g. `America/Sao_Paulo`: the database keeps none",
    )
    lag: Seconds = Field(
        default=10.0,
        description="two readings so far apart have to agree before they count; longer than a call takes to appear in "
        "the call records",
    )
    connections: Annotated[int, Field(ge=2)] = Field(
        default=4, description="connections of one process; half of them at most read lists"
    )
    statement_timeout: Seconds = Field(
        default=5.0, gt=0, description="how long one statement may run; the database ends it"
    )
    account_case: Literal["unknown", "exact", "ignored"] = Field(
        default="unknown",
        description="what `Ana@voip.example` is beside `ana@voip.example` in the call records: `ignored`: the same "
        "account; `exact`: another one; `unknown`: lists leave its calls out, and credit counts them, so that a "
        "person is asked where they matter",
    )

    @property
    def encrypted(self) -> bool:
        return self.tls == "on" or self.ca is not None

    def advice(self) -> list[tuple[str, str]]:
        """What would better be set: why, and the key."""
        if not self.encrypted and not self._on_this_machine:
            text = "the call records come over a connection that is not encrypted, the password with it"
            return [(text, 'call_records] tls = "on", or ca')]
        if not self.verify:
            return [
                (
                    "nobody checks the certificate of the call records' database",
                    "call_records] ca, and verify",
                )
            ]
        return []

    @property
    def _on_this_machine(self) -> bool:
        host = urlsplit(self.url.get_secret_value()).hostname if self.url else None
        return host is not None and HERE.fullmatch(host) is not None

    @model_validator(mode="after")
    def _verify_has_something_to_check(self) -> Self:
        if not self.verify and not self.encrypted:
            raise ValueError(
                'verify = false says nothing without tls = "on": the connection is not encrypted'
            )
        return self


class PlatformSettings(Section):
    """What every kind of platform has; the kinds add their own keys."""

    kind: str = Field(description="what it is")
    url: Url = Field(description="its address, e.g. `http://sippulse.example:8080/SipPulse`")
    verify: bool = Field(default=True, description="check the server's certificate (https)")
    ca: File | None = Field(
        default=None, description="file with the authorities that sign the server's certificate"
    )
    environment: Literal["production", "staging"] = Field(
        default="production",
        description="what kind of installation it is; `platforms learn` writes on `staging` alone",
    )
    concurrency: Count = Field(default=16, description="calls at once, all processes together")
    rate: float = Field(default=50.0, gt=0, description="calls a second, all processes together")
    timeout: Seconds = Field(default=10.0, gt=0, description="deadline of a whole call")
    keepalive: Seconds = Field(default=2.0, description="how long a connection may rest and be used again")
    control_read: str = Field(
        default="", description="another read than the default to tell whether the platform is well"
    )
    settle: Seconds = Field(
        default=120.0,
        gt=0,
        description="after a lost answer the platform has to keep answering for so long before a negative "
        "reading counts; longer than the platform's own longest transaction",
    )
    retry_for: Seconds = Field(default=DAY, description="how long a command is tried before it is parked")
    retry_first: Seconds = Field(default=2.0, gt=0, description="first wait before another try")
    retry_most: Seconds = Field(default=900.0, gt=0, description="longest wait before another try")
    lease_margin: Seconds = Field(default=15.0, gt=0, description="a claim lasts `timeout` and this")
    breaker_after: Count = Field(default=5, description="transport failures in a row that open the breaker")
    breaker_probe_first: Seconds = Field(
        default=1.0, gt=0, description="first wait before an open breaker is probed"
    )
    breaker_probe_most: Seconds = Field(default=30.0, gt=0, description="longest wait between two probes")
    hold_probe_first: Seconds = Field(
        default=5.0, gt=0, description="first wait before a held platform is read again"
    )
    hold_probe_most: Seconds = Field(
        default=300.0,
        gt=0,
        description="longest wait between two such reads, so that no account is locked out",
    )
    credit_step: Money = Field(default=Decimal("0.01"), description="finer amounts are refused")
    allow: tuple[str, ...] = Field(default=(), description="patterns of commands allowed beside the default")
    deny: tuple[str, ...] = Field(default=(), description="patterns of commands refused `not_allowed`")
    limits: LimitSettings = Field(default=LimitSettings(), description="what is above is not done")
    refusals: Annotated[Mapping[str, str], AfterValidator(patterns)] = Field(
        default={},
        description="text of a fault (a regular expression, any case) = an error code, `busy` or `ill`",
    )

    @property
    def lease(self) -> float:
        """How long a claim lasts, in seconds."""
        return self.timeout + self.lease_margin

    @property
    def account(self) -> str:
        """Whom the worker signs in as: for texts, never a secret."""
        return self.kind

    @property
    def evidence_lag(self) -> float:
        """Seconds between the two readings of a balance that have to agree before they count."""
        return 10.0

    @property
    def limited(self) -> Sequence[str]:
        """The limits that mean something on this kind of platform."""
        return tuple(LimitSettings.model_fields)

    def advice(self) -> list[tuple[str, str]]:
        """What would better be set: why, and the key, with its table where it is in one (`limits] credit_max`)."""
        return []

    @property
    def strict(self) -> bool:
        """After a lost credit a person decides, whatever the balance shows."""
        return False

    @property
    def rounded_away(self) -> Decimal:
        """How far what a call took from the balance may be from its price in the call records."""
        return Decimal(0)


class SippulseSettings(PlatformSettings):
    kind: Literal["sippulse"] = Field(description="what it is")
    login: str = Field(min_length=1, description="the platform's administrator")
    password: Secret = Field(description="the administrator's password")
    wsdl: Literal["bundled", "live"] = Field(
        default="bundled", description="the WSDLs that come along, or the server's own"
    )
    namespace: str = Field(
        default="", description="another target namespace than the WSDL's; empty: the WSDL's"
    )
    http_basic: bool = Field(default=False, description="send login and password as HTTP Basic as well")
    credit_evidence: Annotated[str, AfterValidator(select)] = Field(
        default="auto",
        description="`auto`; `strict`: after a lost answer a person decides, whatever the balance shows; or a SELECT over "
        "`call_records.url` that shows the credit entry, one row each: see docs/credit.md",
    )
    reload_after: tuple[str, ...] = Field(
        default=(), description="commands after which the platform's modules are reloaded"
    )
    assume: SippulseAssume = Field(
        default=SippulseAssume(),
        description="what the platform leaves open, where the safe default is not right",
    )
    call_records: CallRecordSettings = Field(
        default=CallRecordSettings(), description="rated calls, to explain credit"
    )

    @property
    def account(self) -> str:
        return self.login

    @property
    def evidence_lag(self) -> float:
        return self.call_records.lag

    def advice(self) -> list[tuple[str, str]]:
        if self.call_records.url is not None:
            return self.call_records.advice()
        if self.credit_evidence != "auto":
            return []
        text = "no call records: after a lost answer to credit.add, calls meanwhile leave it to a person"
        return [(text, "call_records] url")]

    @property
    def strict(self) -> bool:
        return self.credit_evidence == "strict"

    @property
    def rounded_away(self) -> Decimal:
        return Decimal("0.005") if self.assume.rounding == "cents" else Decimal(0)

    @property
    def evidence_select(self) -> str | None:
        """The operator's own SELECT, where there is one."""
        return None if self.credit_evidence in ("auto", "strict") else self.credit_evidence

    @model_validator(mode="after")
    def _evidence_has_a_database(self) -> Self:
        if self.evidence_select and self.call_records.url is None:
            raise ValueError("a SELECT as credit_evidence needs call_records.url")
        return self


class VoipmundoSettings(PlatformSettings):
    kind: Literal["voipmundo"] = Field(description="what it is")
    api_token: Secret = Field(description="API TOKEN of the user of the panel that the worker is")
    api_key: Secret = Field(description="its API KEY")
    level: Literal["master", "reseller", "subscriber"] = Field(
        default="master", description="what the pair belongs to: Master, Revenda, Assinante"
    )
    undocumented: bool = Field(
        default=False,
        description="allow what no document of the vendor's shows, only other people's programs",
    )
    status_blocks_calls: bool = Field(
        default=False,
        description="deactivating a client stops its calls, both ways: then `calls.block` of `outgoing` and "
        "`incoming` together does that",
    )
    customer_resource: ResourceName = Field(
        default="manageCustomers",
        description="what stands in the address of a client's record, which the help page does not show",
    )
    find_in: Literal["contacts", "listCustomers", "nothing"] = Field(
        default="contacts",
        description="list that is looked through for a new client before and after it is made; both are "
        "undocumented, and without them a person settles a lost answer to `subscriber.create`",
    )
    find_by: tuple[ResourceName, ...] = Field(
        default=("nome_fantasia",),
        min_length=1,
        description="fields of a row of that list that tell the client, by the names that a create has for them",
    )
    more_fields: tuple[ResourceName, ...] = Field(
        default=(),
        description="fields of a new or changed client beyond those that the vendor's page shows before it is cut; "
        "in commands they stand in `platform_fields.more`, and are kept as secrets",
    )
    recovery: Seconds = Field(
        default=30.0,
        gt=0,
        description="after a 429 one call at a time; so long without another until one more at once is tried",
    )
    credit: VoipmundoCredit = Field(
        default=VoipmundoCredit(), description="how `credit.add` is written; off until configured"
    )
    assume: VoipmundoAssume = Field(
        default=VoipmundoAssume(),
        description="what the platform leaves open, where the safe default is not right",
    )

    @property
    def account(self) -> str:
        return {"master": "Master", "reseller": "Revenda", "subscriber": "Assinante"}[self.level]

    @property
    def evidence_lag(self) -> float:
        return self.credit.lag

    def advice(self) -> list[tuple[str, str]]:
        found = []
        if self.url.startswith("http://") and not LOOPBACK.match(self.url):
            found.append(
                ("token and key stand in every address, and http shows them on the way", "url to https://")
            )
        if not self.undocumented and self.level == "master":
            text = "no list of clients may be read: a lost answer to subscriber.create is left to a person"
            found.append((text, "undocumented = true, if the platform has one: see find_in"))
        return found

    @model_validator(mode="after")
    def _credit_can_be_settled(self) -> Self:
        named = bool(self.credit.customer), bool(self.credit.amount)
        if any(named) and not (all(named) and self.assume.balance and self.undocumented):
            raise ValueError(
                "credit needs credit.customer, credit.amount and assume.balance, and undocumented = true: without "
                "a balance nobody could settle a lost answer"
            )
        return self


# The module builds on PlatformSettings, above.
from worker.settings.ringme import RingmeSettings  # noqa: E402

# Another kind is one line here, one in worker/platforms/build.py, one in worker/messages/catalogue.py.
KINDS: dict[str, type[PlatformSettings]] = {
    "sippulse": SippulseSettings,
    "voipmundo": VoipmundoSettings,
    "ringme": RingmeSettings,
}


def add_kind(kind: str, model: type[PlatformSettings]) -> None:
    """A kind of platform that does not come with the worker, before the settings are read."""
    from worker.settings.model import Settings

    KINDS[kind] = model
    Settings.model_rebuild(force=True)


def remove_kind(kind: str) -> None:
    from worker.settings.model import Settings

    del KINDS[kind]
    Settings.model_rebuild(force=True)


class _OfItsKind:
    """A platform's table is read by the model that its `kind` names."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.tagged_union_schema(
            {kind: handler.generate_schema(model) for kind, model in KINDS.items()},
            discriminator=_kind_of,
            custom_error_type="kind",
            custom_error_message=f"kind is missing or unknown: we know {', '.join(sorted(KINDS))}",
        )


def _kind_of(value: Any) -> Any:
    return value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)


AnyPlatform = Annotated[PlatformSettings, _OfItsKind()]
