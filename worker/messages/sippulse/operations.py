"""Every operation of SIPPulse, one line each: the documented 84, and the 11 that exist beside them.

A line says: the documented name (and how servers spell it), the parameters in the order of the schema (an
object's fields stand in `shapes`), what is returned, what a call does, and how that shows afterwards. Without
`key` it is ordered with the other commands of the subscriber that it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType

from worker.messages.sippulse.checks import (
    AsSent,
    Booked,
    Check,
    Gone,
    Grouped,
    Inserted,
    NoSubscriber,
    Nothing,
    Param,
    ReadsBack,
    Shows,
    ShowsProfile,
    SignsIn,
    There,
)
from worker.messages.sippulse.shapes import Field, add_spellings, fields_of, others

KIND = "sippulse"


class Known(StrEnum):
    """Where the shape of an operation is known from."""

    WIRE = "wire"  # the WSDL of a running server
    CLIENT = "client"  # programs that were compiled against one; names of children partly assumed
    DOCUMENTS = "documents"  # the vendor's documents alone
    ABSENT = "absent"  # the documents; the one running server whose WSDL is known does not have it


@dataclass(frozen=True, slots=True, eq=False)  # there is one of each
class Operation:
    """One operation. `spelled`: how servers spell it, the bundled WSDL's way first.

    `parameters` without the administrator's login, which every operation with a `principal` takes last.
    `look_in`: what a sender may add so that the effect can be read where the parameters do not say where.
    `denied`: why it has to be allowed in the settings first (rule 7.5); empty: it need not.
    `secret`: its answer is one, and goes only to reply_to.
    """

    service: str
    name: str
    spelled: tuple[str, ...]
    parameters: tuple[Field, ...]
    returns: Field | None
    effect: str  # in the words of domain.effect
    check: Check
    known: Known
    key: str
    look_in: tuple[Field, ...] = ()
    denied: str = ""
    secret: bool = False
    principal: bool = True
    note: str = ""

    @property
    def endpoint(self) -> str:
        return f"{self.service}.{self.name}"

    @property
    def type(self) -> str:
        """Of the native command."""
        return f"{KIND}.{self.endpoint}.v1"

    @property
    def object(self) -> Field | None:
        """The parameter that is an object, or a list of such."""
        return next((field for field in self.parameters if not field.simple), None)

    @property
    def money(self) -> str:
        """The parameter that holds an increment's amount."""
        return "value" if self.effect == INCREMENT else ""


# The documented name of a service -> how servers spell it, the bundled WSDL's way first.
SERVICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "DomainWS": ("DomainWS",),
        "ProfileWS": ("ProfileWS",),
        "SubscriberWS": ("SubscriberWS",),
        "DidWS": ("DidWS",),
        "ResellerWS": ("ResellerWS",),
        "WhitelistWS": ("WhiteListWS", "WhitelistWS"),
        "RatePlanWS": ("RatePlanWS",),
        "RateWS": ("RateWS",),
        "DialplanWS": ("DialplanWS", "DialPlanWS"),
        "AccountGroupWS": ("AccountGroupWS",),
        "CustomerWS": ("CustomerWS",),
        "UserLocationWS": ("UserLocationWS",),
        "AddressWS": ("AddressWS",),
        "HuntGroupWS": ("HuntGroupWS",),
        "ReloadModulesWS": ("ReloadModulesWS",),
    }
)

READ, SET, CREATE, DELETE = "read", "set", "create", "delete"
INCREMENT, CHANGE_SECRET = "increment", "change_secret"
WIRE, CLIENT, DOCUMENTS, ABSENT = Known.WIRE, Known.CLIENT, Known.DOCUMENTS, Known.ABSENT

SUBSCRIBER = "subscriber"
WHO = "username domain"
SECRET_ANSWER = "its answer is a secret"
NEW = (
    "{username domain password passwordPortal profile ratePlanId emailAddress countryCode areaCode callLimit}"
)
PASSWORDS = "actualPassword* newPassword* confirmNewPassword*"

a_read = Nothing("a read")
unseen = Nothing("no field of the record shows it")
no_list = Nothing("no operation lists them")
no_trace = Nothing("a reload leaves no trace")
PERSON = ("username", "domain")
record = "SubscriberWS.retrieveSubscriber"


def _op(
    names: str,
    parameters: str,
    returns: str,
    effect: str,
    check: Check,
    known: Known,
    *,
    key: str = SUBSCRIBER,
    look_in: str = "",
    denied: str = "",
    secret: bool = False,
    principal: bool = True,
    note: str = "",
) -> Operation:
    """`names`: Service.operation, or Service.operation=spelling."""
    endpoint, _, spelled = names.partition("=")
    service, _, name = endpoint.partition(".")
    answer = fields_of(returns)
    return Operation(
        service,
        name,
        (spelled, name) if spelled else (name,),
        fields_of(parameters),
        answer[0] if answer else None,
        effect,
        check,
        known,
        key,
        look_in=fields_of(look_in),
        denied=denied,
        secret=secret,
        principal=principal,
        note=note,
    )


# fmt: off
_ALL = (
    _op("DomainWS.listDomains", "", "domain:domain[]", READ, a_read, CLIENT, key="domains"),
    _op("ProfileWS.listProfilesByDomain", "domain", "profile:profile[]", READ, a_read, CLIENT, key="domain:{domain}", note="documented without domain"),

    # SubscriberWS: documented
    _op("SubscriberWS.activateSubscriber", WHO, "", SET, unseen, WIRE),
    _op("SubscriberWS.blockSubscriber", WHO, "", SET, unseen, WIRE),
    _op("SubscriberWS.activateLowCreditNotification", f"{WHO} lowCreditLimit:double", "", SET, Shows({"lowCreditNotification": True, "lowCreditLimit": Param("lowCreditLimit")}), WIRE),
    _op("SubscriberWS.blockLowCreditNotification", WHO, "", SET, Shows({"lowCreditNotification": False}), WIRE),
    _op("SubscriberWS.activatePrivacyCalls", WHO, "", SET, unseen, WIRE),
    _op("SubscriberWS.blockPrivacyCalls", WHO, "", SET, unseen, WIRE),
    _op("SubscriberWS.activateOutgoingCalls", WHO, "", SET, Shows({"activeOutgoingCalls": True}), WIRE),
    _op("SubscriberWS.blockOutgoingCalls", WHO, "", SET, Shows({"activeOutgoingCalls": False}), WIRE),
    _op("SubscriberWS.activateIncommingCalls", WHO, "", SET, Shows({"activeIncomingCalls": True}), WIRE),
    _op("SubscriberWS.blockIncommingCalls", WHO, "", SET, Shows({"activeIncomingCalls": False}), WIRE),
    _op("SubscriberWS.blockCollectCalls", WHO, "", SET, Shows({"blockCollectCalls": True}), WIRE),
    _op("SubscriberWS.activateCollectCalls", WHO, "", SET, Shows({"blockCollectCalls": False}), WIRE),
    _op("SubscriberWS.blockAnonymousCalls", WHO, "", SET, Shows({"blockAnonymousCalls": True}), WIRE),
    _op("SubscriberWS.activateAnonymousCalls", WHO, "", SET, Shows({"blockAnonymousCalls": False}), WIRE),
    _op("SubscriberWS.activateTopologyHiding", WHO, "", SET, unseen, ABSENT),
    _op("SubscriberWS.blockTopologyHiding", WHO, "", SET, unseen, ABSENT),
    _op("SubscriberWS.activateDailyStatistics", WHO, "", SET, unseen, WIRE),
    _op("SubscriberWS.blockDailyStatistics", WHO, "", SET, unseen, WIRE),
    _op("SubscriberWS.addCredit", f"{WHO} value:double obs?", "", INCREMENT, Booked("SubscriberWS.retrieveCredit"), WIRE, note="obs: the command's id is put before it"),
    _op("SubscriberWS.insertSubscriber", f"subscriber:subscriberDTO{NEW}", "subscriberId:int", CREATE, Inserted(), WIRE, note="documented flat"),
    _op("SubscriberWS.updateSubscriber", "subscriber:subscriberDTO{username domain}", "", SET, AsSent(record, PERSON), WIRE, note="documented flat"),
    _op("SubscriberWS.retrieveCredit", WHO, "return:double", READ, a_read, WIRE),
    _op("SubscriberWS.changePassword", f"{WHO} {PASSWORDS}", "", CHANGE_SECRET, ReadsBack("SubscriberWS.retrievePassword"), WIRE),
    _op("SubscriberWS.changeProfile", f"{WHO} newProfileId:int", "", SET, ShowsProfile(), WIRE),
    _op("SubscriberWS.removeSubscriber", WHO, "", DELETE, NoSubscriber(), WIRE),
    _op("SubscriberWS.retrievePassword", WHO, "return:string*", READ, a_read, WIRE, denied=SECRET_ANSWER, secret=True),
    _op("SubscriberWS.retrieveSubscriber", WHO, "return:subscriberDTO", READ, a_read, WIRE, note="secrets in the answer are ***"),
    _op("SubscriberWS.updateSubscriberBillingInfo", "subscriber:subscriberBillingInfoDTO{username domain}", "", SET, AsSent(record, PERSON), WIRE),
    _op("SubscriberWS.updateSubscriberClassV", "subscriber:subscriberClassVDTO{username domain}", "", SET, AsSent("SubscriberWS.retrieveSubscriberClassV", PERSON), WIRE),
    _op("SubscriberWS.updateSubscriberServices", "subscriber:subscriberServicesDTO{username domain cps keepAlive}", "", SET, AsSent(record, PERSON), WIRE, note="cps and keepAlive show nowhere"),
    _op("SubscriberWS.activateVoicemail", f"{WHO} voicemailPassword:long*", "", SET, Shows({"voicemail": True, "voiceMailPassword": Param("voicemailPassword")}), WIRE),
    _op("SubscriberWS.blockVoicemail", WHO, "", SET, Shows({"voicemail": False}), WIRE),
    _op("SubscriberWS.insertDBAliases", "dbAliases:dbAliases{aliasUsername}", "return:subscriberDTO", CREATE, no_list, ABSENT, key="db-alias:{dbAliases.aliasUsername}", note="the fields of DbAliases are assumed"),
    _op("SubscriberWS.deleteDBAliases", "dbAliases:int", "", DELETE, no_list, ABSENT, key="db-alias-id:{dbAliases}", note="dbAliases: the number of the alias"),
    _op("SubscriberWS.retrieveDailyQuota", WHO, "dailyQuotaDTO:subscriberDailyQuotaDTO", READ, a_read, WIRE, note="documented to return SubscriberDTO"),
    _op("SubscriberWS.updateDailyQuota", "dailyQuotaDTO:subscriberDailyQuotaDTO{username domain}", "", SET, AsSent("SubscriberWS.retrieveDailyQuota", PERSON), WIRE, note="documented flat"),
    _op("SubscriberWS.blockEntry0303", WHO, "", SET, Shows({"blockEntry0303": True}), WIRE),
    _op("SubscriberWS.activateEntry0303", WHO, "", SET, Shows({"blockEntry0303": False}), WIRE),
    _op("SubscriberWS.activateValidateSource0303", WHO, "", SET, Shows({"validateSource0303": True}), WIRE),
    _op("SubscriberWS.disableValidateSource0303", WHO, "", SET, Shows({"validateSource0303": False}), WIRE),

    _op("DidWS.insertDid", "did:did{accountCode aliasUsername username domain}", "didId:int", CREATE, There("DidWS.listByAcc", ("accountCode",), ("aliasUsername",)), WIRE, note="documented flat, returning SubscriberDTO"),
    _op("DidWS.deleteDid", "didId:int", "", DELETE, Gone("DidWS.listByAcc", ("accountCode",), {"id": "didId"}), WIRE, key="did:{didId}", look_in="accountCode"),
    _op("DidWS.listByAcc", "accountCode", "did:did[]", READ, a_read, WIRE),
    _op("DidWS.listAvailablesNumbers", "domain", "did:string[]", READ, a_read, WIRE, key="domain:{domain}", note="documented to return Did"),

    _op("ResellerWS.insertReseller", "reseller:reseller{domain name manager email username password}", "resellerId:int", CREATE, There("ResellerWS.listByDomain", ("domain",), ("username",)), DOCUMENTS, key="reseller:{reseller.name}@{reseller.domain}", note="documented flat"),
    _op("ResellerWS.deleteReseller", "resellerId:int", "", DELETE, Gone("ResellerWS.listByDomain", ("domain",), {"id": "resellerId"}), DOCUMENTS, key="reseller-id:{resellerId}", look_in="domain", denied="it deletes a reseller"),
    _op("ResellerWS.listByDomain", "domain", "reseller:reseller[]", READ, a_read, DOCUMENTS, key="domain:{domain}", note="secrets in the answer are ***"),
    _op("ResellerWS.addResellerCredit", "resellerName domain value:double obs?", "", INCREMENT, Booked("ResellerWS.retrieveResellerCredit", calls=False), DOCUMENTS, key="reseller:{resellerName}@{domain}", note="obs: the command's id is put before it"),
    _op("ResellerWS.retrieveResellerCredit", "resellerId:int", "return:double", READ, a_read, DOCUMENTS, key="reseller-id:{resellerId}"),

    _op("WhitelistWS.insertWhiteList", "userWhiteList/whiteList:userWhiteList{username domain prefix}", "return:int", CREATE, There("WhitelistWS.listWhiteList", PERSON, ("prefix",)), CLIENT, note="documented flat"),
    _op("WhitelistWS.deleteWhiteList=deletetWhiteList", "whiteListId:int", "", DELETE, Gone("WhitelistWS.listWhiteList", PERSON, {"id": "whiteListId"}), CLIENT, key="white-list:{whiteListId}", look_in=WHO),
    _op("WhitelistWS.listWhiteList", WHO, "userWhiteList:userWhiteList[]", READ, a_read, CLIENT, note="documented with whiteListId for username"),

    _op("RatePlanWS.listRatePlansByDomain", "domain", "ratePlan:ratePlan[]", READ, a_read, CLIENT, key="domain:{domain}"),
    _op("RatePlanWS.insertRatePlan", "ratePlan:ratePlan{name domain rateId prepaId txConnection cadency}", "ratePlan:ratePlan", CREATE, There("RatePlanWS.listRatePlansByDomain", ("domain",), ("name",)), CLIENT, key="rate-plan:{ratePlan.name}@{ratePlan.domain}", note="documented flat"),
    _op("RatePlanWS.updateRatePlan", "ratePlan:ratePlan{id domain}", "ratePlan:ratePlan", SET, AsSent("RatePlanWS.listRatePlansByDomain", ("domain",), "id"), CLIENT, key="rate-plan:{ratePlan.id}", note="documented flat, without domain"),
    _op("RatePlanWS.removeRatePlan", "idRatePlan/id:int", "", DELETE, Gone("RatePlanWS.listRatePlansByDomain", ("domain",), {"id": "idRatePlan"}), CLIENT, key="rate-plan:{idRatePlan}", look_in="domain"),

    _op("RateWS.listRatesByParams", "domain descripion/description? rateId:int? prefix?", "rate:rate[]", READ, a_read, CLIENT, key="rates:{domain}"),
    _op("RateWS.insertRates", "rate:rate[]{domain name prefix rateId rateValue}", "", CREATE, There("RateWS.listRatesByParams", ("domain", "rateId"), ("prefix", "rateId")), CLIENT, key="rates:{rate.domain}"),
    _op("RateWS.removeRate", "id/rateId/idRate:int", "", DELETE, Gone("RateWS.listRatesByParams", ("domain", "rateId", "prefix"), {"id": "id"}), CLIENT, key="rate:{id}", look_in="domain rateId:int? prefix?", note="id: the number of the rate, not of its group"),
    _op("RateWS.removeAllRatesByRateId", "domain rateId:int", "ratesRemoved:int", DELETE, Gone("RateWS.listRatesByParams", ("domain", "rateId"), {}), CLIENT, key="rates:{domain}", denied="it deletes many"),

    _op("DialplanWS.listDialplansByDomain", "domain", "dialplan:dialplan[]", READ, a_read, DOCUMENTS, key="domain:{domain}"),

    _op("AccountGroupWS.addAccountGroup", "accountManager managerProfile account/accounts[]", "", CREATE, Grouped(), CLIENT),
    _op("AccountGroupWS.retrieveAccountGroup", "accountManager", "accountGroup:accountGroupDTO", READ, a_read, CLIENT),
    _op("AccountGroupWS.removeAccountGroup", "accountManager managerProfile account/accounts[]", "", DELETE, Grouped(gone=True), CLIENT, note="documented with username, domain, password"),

    _op("CustomerWS.changeCustomerPassword", f"{WHO} {PASSWORDS}", "", CHANGE_SECRET, SignsIn(), CLIENT, principal=False),
    _op("CustomerWS.retrieveCustomerCredit", "username password* domain", "return:double", READ, a_read, CLIENT, principal=False),

    _op("UserLocationWS.listUserLocations", WHO, "userLocation:userLocationDTO[]", READ, a_read, CLIENT),
    _op("UserLocationWS.addUserLocation", f"{WHO} contact", "", CREATE, There("UserLocationWS.listUserLocations", PERSON, ("contact",)), CLIENT),
    _op("UserLocationWS.removeUserLocation", f"{WHO} contact", "", DELETE, Gone("UserLocationWS.listUserLocations", PERSON, {"contact": "contact"}), CLIENT),

    _op("AddressWS.listAddresses=lisAddresses", WHO, "address:address[]", READ, a_read, CLIENT),
    _op("AddressWS.insertAddresses=insertAddress", "address:address{account domain ipAddress mask method port protocol username}", "address:address", CREATE, There("AddressWS.listAddresses", PERSON, ("ipAddress", "mask", "method", "techPrefix", "port", "protocol")), CLIENT, note="documented flat"),
    _op("AddressWS.updateAddresses=updateAddress", "address:address{id domain username}", "address:address", SET, AsSent("AddressWS.listAddresses", PERSON, "id"), CLIENT, note="documented flat"),
    _op("AddressWS.removeAddresses=removeAddress", "domain id:int", "", DELETE, Gone("AddressWS.listAddresses", PERSON, {"id": "id"}), CLIENT, key="address:{id}", look_in="username"),

    _op("HuntGroupWS.listHuntGroups", "domain", "huntGroup:huntGroup[]", READ, a_read, CLIENT, key="domain:{domain}"),
    _op("HuntGroupWS.insertHuntGroups=insertHuntGroup", "huntGroup:huntGroup{domain description groupList method timeout}", "huntGroup:huntGroup", CREATE, There("HuntGroupWS.listHuntGroups", ("domain",), ("description", "groupList")), CLIENT, key="hunt-group:{huntGroup.description}@{huntGroup.domain}", note="documented flat"),
    _op("HuntGroupWS.updateHuntGroups=updateHuntGroup", "huntGroup:huntGroup{id domain}", "huntGroup:huntGroup", SET, AsSent("HuntGroupWS.listHuntGroups", ("domain",), "id"), CLIENT, key="hunt-group:{huntGroup.id}", note="documented flat"),
    _op("HuntGroupWS.removeHuntGroup", "domain id:int", "", DELETE, Gone("HuntGroupWS.listHuntGroups", ("domain",), {"id": "id"}), CLIENT, key="hunt-group:{id}", note="documented with id first"),

    _op("ReloadModulesWS.reloadSubscriber", WHO, "", SET, no_trace, WIRE),
    _op("ReloadModulesWS.reloadProfile", "profile domain", "", SET, no_trace, WIRE, key="profile:{profile}@{domain}"),
    _op("ReloadModulesWS.reloadDid", "didId:int", "", SET, no_trace, WIRE, key="did:{didId}"),
    _op("ReloadModulesWS.reloadAddress", "", "", SET, no_trace, WIRE, key="addresses"),
    _op("ReloadModulesWS.reloadHuntGroup", "huntGroupId:int", "", SET, no_trace, WIRE, key="hunt-group:{huntGroupId}"),

    # Those that exist, though the documents do not name them
    _op("SubscriberWS.activateCallsOnlyByIp", WHO, "", SET, Shows({"callsOnlyByIp": True}), WIRE),
    _op("SubscriberWS.blockCallsOnlyByIp", WHO, "", SET, Shows({"callsOnlyByIp": False}), WIRE),
    _op("SubscriberWS.activateSoftphone", WHO, "", SET, Shows({"softphoneAllowed": True}), WIRE),
    _op("SubscriberWS.blockSoftphone", WHO, "", SET, Shows({"softphoneAllowed": False}), WIRE),
    _op("SubscriberWS.changePasswordWEB", f"{WHO} {PASSWORDS}", "", CHANGE_SECRET, ReadsBack("SubscriberWS.retrievePasswordWEB"), WIRE),
    _op("SubscriberWS.retrievePasswordWEB", WHO, "return:string*", READ, a_read, WIRE, denied=SECRET_ANSWER, secret=True),
    _op("SubscriberWS.retrieveSubscriberClassV", WHO, "return:subscriberClassVDTO", READ, a_read, WIRE, note="secrets in the answer are ***"),
    _op("SubscriberWS.retrieveMonthlyQuotaDTO", WHO, "monthlyQuotaDTO:subscriberMonthlyQuotaDTO", READ, a_read, WIRE),
    _op("SubscriberWS.updateMonthlyQuota", "monthlyQuotaDTO:subscriberMonthlyQuotaDTO{username domain}", "", SET, AsSent("SubscriberWS.retrieveMonthlyQuotaDTO", PERSON), WIRE),
    _op("CustomerWS.authenticate", "username password* domain", "return:subscriberDTO", READ, a_read, CLIENT, principal=False, note="secrets in the answer are ***"),
    _op("RateWS.updateRate", "rate:rate{id domain}", "rate:rate", SET, AsSent("RateWS.listRatesByParams", ("domain",), "id"), CLIENT, key="rates:{rate.domain}"),
)
# fmt: on

DOCUMENTED = 84  # the first ones
OPERATIONS: Mapping[str, Operation] = MappingProxyType({each.endpoint: each for each in _ALL})
BY_TYPE: Mapping[str, Operation] = MappingProxyType({each.type: each for each in _ALL})


def of_service(service: str) -> tuple[Operation, ...]:
    """In the order of the table."""
    return tuple(each for each in _ALL if each.service == service)


@cache
def spellings() -> Mapping[str, frozenset[str]]:
    """A parameter's or field's name in lower case -> all its spellings in lower case."""
    found = others()
    for each in _ALL:
        add_spellings(found, each.parameters)
    return MappingProxyType(found)
