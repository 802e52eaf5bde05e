"""An example of the data of every native command, made from the catalogue."""

from __future__ import annotations

from typing import Any

from worker.messages.sippulse.operations import OPERATIONS, Operation
from worker.messages.sippulse.shapes import Field

USERNAME, DOMAIN = "551140028922", "voip.example"
# Values that say something; the other fields get one of their type.
VALUES: dict[str, Any] = {
    "username": USERNAME,
    "domain": DOMAIN,
    "account": f"{USERNAME}@{DOMAIN}",
    "accountCode": f"{USERNAME}@{DOMAIN}",
    "accountManager": f"551140020000@{DOMAIN}",
    "managerProfile": "residential",
    "actualPassword": "password-until-now",
    "newPassword": "password-from-now-on",
    "confirmNewPassword": "password-from-now-on",
    "aliasUsername": "551130001000",
    "areaCode": 11,
    "cadency": 60,
    "contact": f"sip:{USERNAME}@192.0.2.10:5060",
    "countryCode": 55,
    "description": "sales",
    "email": "ana@voip.example",
    "emailAddress": "ana@voip.example",
    "groupList": "1001;1002",
    "ipAddress": "192.0.2.10",
    "lowCreditLimit": "5.00",
    "manager": "Ana Souza",
    "mask": 32,
    "method": "iponly",
    "name": "basic",
    "passwordPortal": "portal-password-of-ana",
    "password": "sip-password-of-ana",
    "port": 5060,
    "prefix": "5511",
    "profile": "residential",
    "protocol": "udp",
    "rateValue": "0.12",
    "resellerName": "north",
    "timeout": 30,
    "txConnection": 60,
    "value": "25.00",
    "voicemailPassword": "4321",
}
OF_A_KIND: dict[str, Any] = {"boolean": True, "int": 3, "long": "1140028922", "double": "1.50", "string": "x"}
OF_AN_OPERATION: dict[str, dict[str, Any]] = {
    "HuntGroupWS.insertHuntGroups": {"method": "serial"},
    "HuntGroupWS.updateHuntGroups": {"method": "serial"},
    "RateWS.insertRates": {"name": "São Paulo"},
    "CustomerWS.retrieveCustomerCredit": {"password": "portal-password-of-ana"},
    "CustomerWS.authenticate": {"password": "portal-password-of-ana"},
}
# Of an update: what changes.
CHANGED: dict[str, dict[str, Any]] = {
    "SubscriberWS.updateSubscriber": {"firstName": "Ana", "callLimit": 4},
    "SubscriberWS.updateSubscriberBillingInfo": {"city": "Santos"},
    "SubscriberWS.updateSubscriberClassV": {"callFwd": f"sip:1000@{DOMAIN}"},
    "SubscriberWS.updateDailyQuota": {"dailyQuota": True, "dailyQuotaType": "M", "dailyQuotaLimit": "60"},
    "SubscriberWS.updateMonthlyQuota": {"monthlyQuota": True, "monthlyQuotaType": "V", "monthlyQuotaLimit": "50.00"},
    "RatePlanWS.updateRatePlan": {"cadency": 30},
    "RateWS.updateRate": {"rateValue": "0.10"},
    "AddressWS.updateAddresses": {"port": 0},
    "HuntGroupWS.updateHuntGroups": {"timeout": 20},
}  # fmt: skip


def data() -> dict[str, dict[str, Any]]:
    """Command type -> its data, without `platform`."""
    return {each.type: _data(each) for each in OPERATIONS.values()}


def _data(operation: Operation) -> dict[str, Any]:
    own = {**VALUES, **OF_AN_OPERATION.get(operation.endpoint, {})}
    found = {field.name: _value(field, own) for field in operation.parameters if not field.optional}
    if operation.money:
        found["obs"] = "voucher 0815"
    if operation.object and operation.endpoint in CHANGED:
        found[operation.object.name] |= CHANGED[operation.endpoint]
        if operation.object.many:
            raise AssertionError("an update is of one object")
    if operation.look_in:
        found["look_in"] = {
            field.name: _value(field, own) for field in operation.look_in if not field.optional
        }
    return found


def _value(field: Field, own: dict[str, Any]) -> Any:
    if not field.simple:
        inner = {each.name: _value(each, own) for each in field.fields if each.name in field.needs}
        return [inner] if field.many else inner
    value = own.get(field.name, OF_A_KIND[field.type])
    return [value] if field.many else value
