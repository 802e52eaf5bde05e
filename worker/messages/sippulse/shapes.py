"""The types that travel to and from SIPPulse, in the order of its schemas.

Written as `name:type`, types being those of XML Schema; a name alone is a string. Behind it may stand
`/other` other spellings of the name (the documents', another version's), `=a|b` the values or `=1..60` the range that
the documents allow, `[]` it may be repeated, `+` a Java primitive, which the schema demands, `*` a secret, `?` the
documents do not demand it, and in braces the fields of an object that they do demand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

_FIELD = re.compile(
    r"(\w+)((?:/\w+)*)(?::(\w+))?(?:=(\d+)\.\.(\d+)|=([\w+|]+))?(\[\])?([+*?]*)(?:\{([^}]*)\})?"
)
SIMPLE = ("string", "int", "long", "boolean", "double")


@dataclass(frozen=True, slots=True)
class Field:
    """One element. `needs`: fields of an object without which the operation makes no sense."""

    name: str
    type: str = "string"
    many: bool = False
    primitive: bool = False
    secret: bool = False
    optional: bool = False
    others: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    range: tuple[int, int] | None = None
    needs: tuple[str, ...] = ()

    @property
    def simple(self) -> bool:
        return self.type in SIMPLE

    @property
    def fields(self) -> tuple[Field, ...]:
        """Of an object: its own."""
        return type_of(self.type)


def fields_of(written: str) -> tuple[Field, ...]:
    """Read the notation above."""
    return tuple(map(_field, _FIELD.finditer(written)))


def _field(found: re.Match[str]) -> Field:
    name, others, kind, least, most, values, many, marks, needs = found.groups()
    return Field(
        name,
        kind or "string",
        many=bool(many),
        primitive="+" in marks,
        secret="*" in marks,
        optional="?" in marks,
        others=tuple(others.split("/")[1:]),
        values=tuple((values or "").split("|")) if values else (),
        range=(int(least), int(most)) if least else None,
        needs=tuple((needs or "").split()),
    )


@cache
def type_of(name: str) -> tuple[Field, ...]:
    return fields_of(TYPES[name])


TYPES: dict[str, str] = {
    # Known whole from the WSDL of a running server.
    "userPrincipalDTO": "login password*",
    "wsExceptionMessage": "faultMessage",
    "did": (
        "accountCode aliasUsername didHeader didToRuri:boolean+ domain gwid id:int localArea "
        "monthlySubscription:double reverseBilling:boolean+ username"
    ),
    "subscriberBillingInfoDTO": (
        "address city complement contractNumber document domain firstName lastName mobile:long number "
        "phone:long quarter state username zip"
    ),
    "subscriberClassVDTO": (
        "bossSecretary callFwd callGroup domain fwdBusy noAnswer pickupGroup pinCode* username"
    ),
    "subscriberDTO": (
        "accountCode activeIncomingCalls/activeIncommingCalls:boolean+ activeOutgoingCalls:boolean+ "
        "addServiceHeader:boolean+ address areaCode:int blockAnonymousCalls:boolean+ blockCollectCalls:boolean "
        "blockEntry0303:boolean+ callFwd callLimit:int callsOnlyByIp:boolean+ city cityCode complement "
        "contractNumber copyPassertedRpid:boolean+ countryCode:int document domain emailAddress/emailAdress "
        "firstName fwdBusy id:int lastName localArea lowCreditLimit:double+ lowCreditNotification:boolean+ "
        "mobile:long noAnswer number password* passwordPortal* phone:long profile quarter ratePlanId:int "
        "resellerBillingType:int=0..1+ resellerId:int resellerMarkup/resellerMarckup:double+ "
        "resellerRatePlanId/resellerRateplanId:int rings:int rpid softphoneAllowed:boolean+ state username "
        "validateSource0303:boolean+ voiceMailPassword/voicemailPassword:long* voicemail:boolean+ zip"
    ),
    "subscriberDailyQuotaDTO": (
        "dailyQuota:boolean+ dailyQuotaConsumed:double+ dailyQuotaLimit:double+ dailyQuotaType=M|V domain "
        "username"
    ),
    "subscriberMonthlyQuotaDTO": (
        "domain monthlyQuota:boolean+ monthlyQuotaConsumed:double+ monthlyQuotaLimit:double+ monthlyQuotaType "
        "username"
    ),
    "subscriberServicesDTO": (
        "areaCode:int callLimit:int cityCode countryCode:int cps:int+ domain email/emailAddress keepAlive:int+ "
        "localArea rpid username"
    ),
    # Named by clients that were compiled against a running server; what they do not show is as documented.
    "address": (
        "account/accountcode contextinfo domain group id:int ipAddress/IpAdress mask:int=0..128 "
        "method=iponly|techprefix|ip+cpt|ip+cli pattern port:int=0..65535 protocol=tcp|udp|tls|any "
        "techPrefix/techprefix username"
    ),
    "rate": (
        "cadency:int domain id:int name prefix rateId:int rateValue:double serviceType txConnection:int "
        "txDelay:int txDiscard:int"
    ),
    "ratePlan": (
        "blockCallsWithoutRate:boolean cadency:int=1..60 domain freeMinutes:int id:int "
        "limitToCreditsExpires/limitToCreditExpires:int markup:double name prepaId/prepaid/prepareid:boolean "
        "rateId/rateid:int txConnection:int=1..60 txDelay:int txDiscard:int"
    ),
    # As documented; where the documents name no field, those that the operations make likely.
    "accountGroupDTO": "account/accounts[] accountManager managerProfile",
    "dbAliases": "aliasDomain aliasUsername domain id:int username",
    "dialplan": "domain id:int name",
    "domain": "domain name",
    "huntGroup": "description domain groupList id:int method=paralell|serial timeout:int uri",
    "profile": "domain id:int profile",
    "reseller": "credit:double domain email id:int manager mobile name password* phone username",
    "userLocationDTO": "contact domain username",
    "userWhiteList": "domain id:int prefix username",
}


def others() -> dict[str, frozenset[str]]:
    """A name in lower case -> all spellings of it, in lower case; only of names that have several."""
    found: dict[str, frozenset[str]] = {}
    for fields in map(type_of, TYPES):
        add_spellings(found, fields)
    return found


def add_spellings(found: dict[str, frozenset[str]], fields: tuple[Field, ...]) -> None:
    for field in fields:
        names = frozenset(name.lower() for name in (field.name, *field.others))
        if len(names) > 1:
            found[field.name.lower()] = found.get(field.name.lower(), frozenset()) | names
