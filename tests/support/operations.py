"""Every operation of SIPPulse that is not a read: what is ordered, on what, and what shows that it was done.

A scene names its operation, sets up what it is about (nothing, where the world is empty), and says by which read,
written here by hand, a person would look.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

import httpx

from worker.simulators.sippulse import Simulator
from worker.simulators.sippulse.wsdl import NAMESPACE

DOMAIN = "pbx.example"
NOBODY = 9999  # the number of what is not there
LOGIN = {"login": "admin", "password": "admin"}

# The record's field, and what it is once the operation was done.
FLAGS = {
    "blockLowCreditNotification": ("lowCreditNotification", "false"),
    "activateOutgoingCalls": ("activeOutgoingCalls", "true"),
    "blockOutgoingCalls": ("activeOutgoingCalls", "false"),
    "activateIncommingCalls": ("activeIncomingCalls", "true"),
    "blockIncommingCalls": ("activeIncomingCalls", "false"),
    "blockCollectCalls": ("blockCollectCalls", "true"),
    "activateCollectCalls": ("blockCollectCalls", "false"),
    "blockAnonymousCalls": ("blockAnonymousCalls", "true"),
    "activateAnonymousCalls": ("blockAnonymousCalls", "false"),
    "blockVoicemail": ("voicemail", "false"),
    "blockEntry0303": ("blockEntry0303", "true"),
    "activateEntry0303": ("blockEntry0303", "false"),
    "activateValidateSource0303": ("validateSource0303", "true"),
    "disableValidateSource0303": ("validateSource0303", "false"),
    "activateCallsOnlyByIp": ("callsOnlyByIp", "true"),
    "blockCallsOnlyByIp": ("callsOnlyByIp", "false"),
    "activateSoftphone": ("softphoneAllowed", "true"),
    "blockSoftphone": ("softphoneAllowed", "false"),
}
# No read of the platform shows what these do.
UNSEEN = {
    "SubscriberWS.activateSubscriber",
    "SubscriberWS.blockSubscriber",
    "SubscriberWS.activatePrivacyCalls",
    "SubscriberWS.blockPrivacyCalls",
    "SubscriberWS.activateTopologyHiding",
    "SubscriberWS.blockTopologyHiding",
    "SubscriberWS.activateDailyStatistics",
    "SubscriberWS.blockDailyStatistics",
    "SubscriberWS.insertDBAliases",
    "SubscriberWS.deleteDBAliases",
    "ReloadModulesWS.reloadSubscriber",
    "ReloadModulesWS.reloadProfile",
    "ReloadModulesWS.reloadDid",
    "ReloadModulesWS.reloadAddress",
    "ReloadModulesWS.reloadHuntGroup",
}


@dataclass(frozen=True, slots=True)
class Probe:
    """A read, what its answer holds (a regular expression), and how often once the operation was done."""

    service: str
    operation: str
    fields: dict[str, Any]
    shows: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Scene:
    operation: str  # Service.operation as documented
    data: dict[str, Any]
    probe: Probe | None  # None: no read shows it


@dataclass(slots=True)
class World:
    """A simulator to set up, or an empty one in which everything is missing."""

    sim: Simulator
    empty: bool = False
    users: int = 0
    scenes: list[Scene] = field(default_factory=list)

    def user(self, balance: str = "5", **fields: Any) -> dict[str, str]:
        """A subscriber of its own for every scene."""
        self.users += 1
        who = {"username": f"55110000{self.users:04d}", "domain": DOMAIN}
        passwords = {"password": "sip-old", "passwordPortal": "portal-old"}
        if not self.empty:
            self.sim.platform.seed({**who, "balance": balance, "profile": "default", **passwords, **fields})
        return who

    def row(self, table: str, **values: Any) -> int:
        """Something that is there; its number."""
        return NOBODY if self.empty else int(self.sim.platform.objects[table].add(values)["id"])  # type: ignore[arg-type]  # it is a number

    def play(self, operation: str, data: dict[str, Any], probe: Probe | None) -> None:
        self.scenes.append(Scene(operation, data, probe))


def record(who: dict[str, str], shows: str) -> Probe:
    return Probe("SubscriberWS", "retrieveSubscriber", who, shows)


async def shown(sim: Simulator, probe: Probe) -> int:
    """How often the answer to the read holds it. Nothing of the worker is used."""
    whole = {**probe.fields} if probe.service == "CustomerWS" else {**probe.fields, "principal": LOGIN}
    children = "".join(_element(name, value) for name, value in whole.items())
    body = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>'
        f'<s:{probe.operation} xmlns:s="{NAMESPACE}">{children}</s:{probe.operation}></e:Body></e:Envelope>'
    )
    async with httpx.AsyncClient(timeout=30, verify=False) as client:
        answer = await client.post(f"{sim.url}/{probe.service}", content=body.encode())
    return len(re.findall(probe.shows, answer.text))


def _element(name: str, value: Any) -> str:
    inner = (
        "".join(_element(*each) for each in value.items()) if isinstance(value, dict) else escape(str(value))
    )
    return f"<{name}>{inner}</{name}>"


def scenes(sim: Simulator, *, empty: bool = False) -> list[Scene]:
    """One for every operation that is not a read, each about something of its own."""
    world = World(sim, empty)
    for play in PLAYS:
        play(world)
    return world.scenes


PLAYS: list[Callable[[World], None]] = []


def _play(function: Callable[[World], None]) -> Callable[[World], None]:
    PLAYS.append(function)
    return function


# The subscriber -----------------------------------------------------------------------------------


@_play
def flags(world: World) -> None:
    for operation, (name, value) in FLAGS.items():
        who = world.user(**{name: value != "true"})
        world.play(f"SubscriberWS.{operation}", who, record(who, f"<{name}>{value}</{name}>"))


@_play
def unseen(world: World) -> None:
    for operation in sorted(UNSEEN):
        service, _, name = operation.partition(".")
        if service == "SubscriberWS" and "DBAliases" not in name:
            world.play(operation, world.user(), None)


@_play
def low_credit(world: World) -> None:
    who = world.user()
    shows = r"<lowCreditLimit>7\.5</lowCreditLimit><lowCreditNotification>true<"
    data = {**who, "lowCreditLimit": "7.5"}
    world.play("SubscriberWS.activateLowCreditNotification", data, record(who, shows))


@_play
def voicemail(world: World) -> None:
    who = world.user()
    shows = "<voiceMailPassword>4321</voiceMailPassword><voicemail>true<"
    world.play("SubscriberWS.activateVoicemail", {**who, "voicemailPassword": "4321"}, record(who, shows))


@_play
def profile(world: World) -> None:
    who = world.user()
    world.play(
        "SubscriberWS.changeProfile", {**who, "newProfileId": 3}, record(who, "<profile>business</profile>")
    )


@_play
def credit(world: World) -> None:
    who = world.user()
    probe = Probe("SubscriberWS", "retrieveCredit", who, r"<return>30(\.0+)?</return>")
    world.play("SubscriberWS.addCredit", {**who, "value": "25.00", "obs": "voucher"}, probe)


@_play
def new_subscriber(world: World) -> None:
    world.users += 1
    who = {"username": f"55110000{world.users:04d}", "domain": DOMAIN}
    dto = {
        **who,
        "password": "sip-new",
        "passwordPortal": "portal-new",
        "profile": "default",
        "ratePlanId": 3,
        "emailAddress": "ana@pbx.example",
        "countryCode": 55,
        "areaCode": 11,
        "callLimit": 2,
        "firstName": "Ana",
    }
    probe = record(who, "<firstName>Ana</firstName>")
    world.play("SubscriberWS.insertSubscriber", {"subscriber": dto}, probe)


@_play
def removed_subscriber(world: World) -> None:
    who = world.user()
    probe = Probe("SubscriberWS", "retrieveSubscriber", who, "<username>", times=0)
    world.play("SubscriberWS.removeSubscriber", who, probe)


@_play
def updates(world: World) -> None:
    who = world.user(firstName="Ana", city="Santos", rings=25)
    shows = "<city>Santos</city>(?s:.*)<firstName>Eva</firstName>(?s:.*)<rings>25</rings>"
    world.play(
        "SubscriberWS.updateSubscriber", {"subscriber": {**who, "firstName": "Eva"}}, record(who, shows)
    )
    who = world.user(firstName="Ana", city="Santos")
    shows = "<city>Campinas</city>(?s:.*)<firstName>Ana</firstName>"
    data = {"subscriber": {**who, "city": "Campinas"}}
    world.play("SubscriberWS.updateSubscriberBillingInfo", data, record(who, shows))
    who = world.user(callLimit=7, emailAddress="old@pbx.example")
    shows = "<callLimit>7</callLimit>(?s:.*)<emailAddress>new@pbx.example</emailAddress>"
    data = {"subscriber": {**who, "email": "new@pbx.example", "cps": 3, "keepAlive": 1}}
    world.play("SubscriberWS.updateSubscriberServices", data, record(who, shows))


@_play
def class_v(world: World) -> None:
    who = world.user(fwdBusy="sip:7@pbx.example")
    shows = "<callFwd>sip:9@pbx.example</callFwd>(?s:.*)<fwdBusy>sip:7@pbx.example</fwdBusy>"
    probe = Probe("SubscriberWS", "retrieveSubscriberClassV", who, shows)
    data = {"subscriber": {**who, "callFwd": "sip:9@pbx.example"}}
    world.play("SubscriberWS.updateSubscriberClassV", data, probe)


@_play
def quotas(world: World) -> None:
    who = world.user()
    quota = {"dailyQuota": True, "dailyQuotaType": "M", "dailyQuotaLimit": "60"}
    shows = r"<dailyQuota>true<(?s:.*)<dailyQuotaLimit>60<"
    probe = Probe("SubscriberWS", "retrieveDailyQuota", who, shows)
    world.play("SubscriberWS.updateDailyQuota", {"dailyQuotaDTO": {**who, **quota}}, probe)
    who = world.user()
    quota = {"monthlyQuota": True, "monthlyQuotaType": "V", "monthlyQuotaLimit": "80.5"}
    shows = r"<monthlyQuota>true<(?s:.*)<monthlyQuotaLimit>80\.5<"
    probe = Probe("SubscriberWS", "retrieveMonthlyQuotaDTO", who, shows)
    world.play("SubscriberWS.updateMonthlyQuota", {"monthlyQuotaDTO": {**who, **quota}}, probe)


@_play
def passwords(world: World) -> None:
    for operation, service, read, old in (
        ("changePassword", "SubscriberWS", "retrievePassword", "sip-old"),
        ("changePasswordWEB", "SubscriberWS", "retrievePasswordWEB", "portal-old"),
        ("changeCustomerPassword", "CustomerWS", "authenticate", "portal-old"),
    ):
        who = world.user()
        new = "brand-new-1"
        data = {**who, "actualPassword": old, "newPassword": new, "confirmNewPassword": new}
        probe = Probe(service, read, who, f"<return>{new}</return>")
        if service == "CustomerWS":
            probe = Probe(service, read, {**who, "password": new}, "<username>")
        world.play(f"{service}.{operation}", data, probe)


@_play
def aliases(world: World) -> None:
    who = world.user()
    alias = {**who, "aliasUsername": "551130007777", "aliasDomain": DOMAIN}
    world.play("SubscriberWS.insertDBAliases", {"dbAliases": alias}, None)
    number = world.row("aliases", aliasUsername="551130008888", **who)
    world.play("SubscriberWS.deleteDBAliases", {"dbAliases": number}, None)


# Other objects --------------------------------------------------------------------------------------


@_play
def dids(world: World) -> None:
    who = world.user()
    account = f"{who['username']}@{DOMAIN}"
    probe = Probe("DidWS", "listByAcc", {"accountCode": account}, "<aliasUsername>551130001000<")
    did = {**who, "accountCode": account, "aliasUsername": "551130001000", "monthlySubscription": "9.90"}
    world.play("DidWS.insertDid", {"did": did}, probe)
    who = world.user()
    account = f"{who['username']}@{DOMAIN}"
    number = world.row(
        "dids",
        accountCode=account,
        aliasUsername="551130001001",
        didToRuri=False,
        reverseBilling=False,
        **who,
    )
    probe = Probe("DidWS", "listByAcc", {"accountCode": account}, "<aliasUsername>", times=0)
    world.play("DidWS.deleteDid", {"didId": number, "look_in": {"accountCode": account}}, probe)


@_play
def resellers(world: World) -> None:
    reseller = {
        "name": "north",
        "manager": "Ana",
        "email": "n@x.example",
        "username": "north",
        "password": "pw-n",
    }
    listed = {"domain": DOMAIN}
    probe = Probe("ResellerWS", "listByDomain", listed, "<username>north</username>")
    world.play("ResellerWS.insertReseller", {"reseller": {**reseller, **listed}}, probe)
    number = world.row("resellers", domain=DOMAIN, name="south", username="south", credit=0)
    probe = Probe("ResellerWS", "listByDomain", listed, "<username>south</username>", times=0)
    data = {"resellerId": number, "look_in": listed}
    world.play("ResellerWS.deleteReseller", data, probe)
    number = world.row("resellers", domain=DOMAIN, name="west", username="west", credit=5)
    probe = Probe(
        "ResellerWS", "retrieveResellerCredit", {"resellerId": number}, r"<return>30(\.0+)?</return>"
    )
    data = {"resellerName": "west", "domain": DOMAIN, "value": "25.00", "obs": "contract"}
    world.play("ResellerWS.addResellerCredit", data, probe)


@_play
def white_lists(world: World) -> None:
    who = world.user()
    probe = Probe("WhiteListWS", "listWhiteList", who, "<prefix>5511</prefix>")
    world.play("WhitelistWS.insertWhiteList", {"userWhiteList": {**who, "prefix": "5511"}}, probe)
    who = world.user()
    number = world.row("whitelist", prefix="5521", **who)
    probe = Probe("WhiteListWS", "listWhiteList", who, "<prefix>", times=0)
    world.play("WhitelistWS.deleteWhiteList", {"whiteListId": number, "look_in": who}, probe)


@_play
def rate_plans(world: World) -> None:
    plan = {"domain": DOMAIN, "rateId": 3, "prepaId": True, "txConnection": 60, "cadency": 60}
    listed = ("RatePlanWS", "listRatePlansByDomain", {"domain": DOMAIN})
    world.play(
        "RatePlanWS.insertRatePlan", {"ratePlan": {**plan, "name": "new"}}, Probe(*listed, "<name>new</name>")
    )
    number = world.row("rateplans", **plan, name="changed")
    shows = "<cadency>30</cadency>(?:(?!</ratePlan>).)*<name>changed</name>"
    data = {"ratePlan": {"id": number, "domain": DOMAIN, "cadency": 30}}
    world.play("RatePlanWS.updateRatePlan", data, Probe(*listed, shows))
    number = world.row("rateplans", **plan, name="old")
    data = {"idRatePlan": number, "look_in": {"domain": DOMAIN}}
    world.play("RatePlanWS.removeRatePlan", data, Probe(*listed, "<name>old</name>", 0))


@_play
def rates(world: World) -> None:
    def group(number: int) -> tuple[str, str, dict[str, Any]]:
        return "RateWS", "listRatesByParams", {"domain": DOMAIN, "rateId": number}

    new = [
        {"domain": DOMAIN, "name": "SP", "rateId": 21, "prefix": prefix, "rateValue": "0.12"}
        for prefix in ("5511", "5512", "5513")
    ]
    world.play("RateWS.insertRates", {"rate": new}, Probe(*group(21), "<prefix>551[123]</prefix>", 3))
    number = world.row("rates", domain=DOMAIN, name="RJ", rateId=22, prefix="5521", rateValue="0.12")
    data: dict[str, Any] = {"rate": {"id": number, "domain": DOMAIN, "rateValue": "0.10"}}
    shows = r"<prefix>5521</prefix><rateId>22</rateId><rateValue>0\.10?<"
    world.play("RateWS.updateRate", data, Probe(*group(22), shows))
    number = world.row("rates", domain=DOMAIN, name="MG", rateId=23, prefix="5531", rateValue="0.12")
    data = {"id": number, "look_in": {"domain": DOMAIN, "rateId": 23}}
    world.play("RateWS.removeRate", data, Probe(*group(23), "<prefix>", 0))
    for prefix in ("5541", "5542"):
        world.row("rates", domain=DOMAIN, name="PR", rateId=24, prefix=prefix, rateValue="0.12")
    data = {"domain": DOMAIN, "rateId": 24}
    world.play("RateWS.removeAllRatesByRateId", data, Probe(*group(24), "<prefix>", 0))


@_play
def account_groups(world: World) -> None:
    manager = f"{world.user()['username']}@{DOMAIN}"
    accounts = [f"{number}@{DOMAIN}" for number in (1001, 1002)]
    data = {"accountManager": manager, "managerProfile": "default", "account": accounts}
    read = ("AccountGroupWS", "retrieveAccountGroup", {"accountManager": manager})
    world.play("AccountGroupWS.addAccountGroup", data, Probe(*read, "<account>100[12]@", 2))
    manager = f"{world.user()['username']}@{DOMAIN}"
    for account in (*accounts, f"1003@{DOMAIN}"):
        world.row("groups", accountManager=manager, managerProfile="default", account=account)
    data = {**data, "accountManager": manager}
    read = ("AccountGroupWS", "retrieveAccountGroup", {"accountManager": manager})
    world.play("AccountGroupWS.removeAccountGroup", data, Probe(*read, "<account>100[12]@", 0))


@_play
def locations(world: World) -> None:
    contact = "sip:1@192.0.2.1:5060"
    who = world.user()
    probe = Probe("UserLocationWS", "listUserLocations", who, f"<contact>{contact}</contact>")
    world.play("UserLocationWS.addUserLocation", {**who, "contact": contact}, probe)
    who = world.user()
    world.row("locations", contact=contact, **who)
    probe = Probe("UserLocationWS", "listUserLocations", who, "<contact>", times=0)
    world.play("UserLocationWS.removeUserLocation", {**who, "contact": contact}, probe)


@_play
def addresses(world: World) -> None:
    address = {"ipAddress": "192.0.2.7", "mask": 32, "method": "iponly", "port": 5060, "protocol": "udp"}

    def there(who: dict[str, str]) -> dict[str, Any]:
        return {**address, **who, "account": f"{who['username']}@{DOMAIN}"}

    who = world.user()
    probe = Probe("AddressWS", "lisAddresses", who, "<ipAddress>192.0.2.7</ipAddress>")
    world.play("AddressWS.insertAddresses", {"address": there(who)}, probe)
    who = world.user()
    number = world.row("addresses", **there(who))
    shows = "<ipAddress>192.0.2.7</ipAddress>(?s:.*)<port>0</port>"
    data: dict[str, Any] = {"address": {**who, "id": number, "port": 0}}
    world.play("AddressWS.updateAddresses", data, Probe("AddressWS", "lisAddresses", who, shows))
    who = world.user()
    number = world.row("addresses", **there(who))
    data = {"domain": DOMAIN, "id": number, "look_in": {"username": who["username"]}}
    world.play(
        "AddressWS.removeAddresses", data, Probe("AddressWS", "lisAddresses", who, "<ipAddress>", times=0)
    )


@_play
def hunt_groups(world: World) -> None:
    group = {"domain": DOMAIN, "groupList": "1001;1002", "method": "serial", "timeout": 30}
    listed = ("HuntGroupWS", "listHuntGroups", {"domain": DOMAIN})
    data: dict[str, Any] = {"huntGroup": {**group, "description": "new"}}
    world.play("HuntGroupWS.insertHuntGroups", data, Probe(*listed, "<description>new<"))
    number = world.row("huntgroups", **group, description="changed")
    shows = "<description>changed<(?:(?!</huntGroup>).)*<timeout>20<"
    data = {"huntGroup": {"id": number, "domain": DOMAIN, "timeout": 20}}
    world.play("HuntGroupWS.updateHuntGroups", data, Probe(*listed, shows))
    number = world.row("huntgroups", **group, description="old")
    data = {"domain": DOMAIN, "id": number}
    world.play("HuntGroupWS.removeHuntGroup", data, Probe(*listed, "<description>old<", 0))


@_play
def reloads(world: World) -> None:
    world.play("ReloadModulesWS.reloadSubscriber", world.user(), None)
    world.play("ReloadModulesWS.reloadProfile", {"profile": "default", "domain": DOMAIN}, None)
    world.play("ReloadModulesWS.reloadDid", {"didId": 1}, None)
    world.play("ReloadModulesWS.reloadAddress", {}, None)
    world.play("ReloadModulesWS.reloadHuntGroup", {"huntGroupId": 1}, None)


def operations_of(found: list[Scene]) -> Iterator[str]:
    return (scene.operation for scene in found)
