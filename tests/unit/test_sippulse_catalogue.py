"""The catalogue says of every operation of SIPPulse what the documents and a running server say."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.operations import UNSEEN
from worker.domain.effect import Effect
from worker.messages.sippulse.checks import Nothing
from worker.messages.sippulse.operations import DOCUMENTED, OPERATIONS, SERVICES, Known, of_service
from worker.messages.sippulse.page import page

# Of the documents: service -> operations, and how many of them read, set, create, delete, increment, change a secret.
TABLE = {
    "DomainWS": (1, 1, 0, 0, 0, 0, 0),
    "ProfileWS": (1, 1, 0, 0, 0, 0, 0),
    "SubscriberWS": (40, 4, 30, 2, 2, 1, 1),
    "DidWS": (4, 2, 0, 1, 1, 0, 0),
    "ResellerWS": (5, 2, 0, 1, 1, 1, 0),
    "WhitelistWS": (3, 1, 0, 1, 1, 0, 0),
    "RatePlanWS": (4, 1, 1, 1, 1, 0, 0),
    "RateWS": (4, 1, 0, 1, 2, 0, 0),
    "DialplanWS": (1, 1, 0, 0, 0, 0, 0),
    "AccountGroupWS": (3, 1, 0, 1, 1, 0, 0),
    "CustomerWS": (2, 1, 0, 0, 0, 0, 1),
    "UserLocationWS": (3, 1, 0, 1, 1, 0, 0),
    "AddressWS": (4, 1, 1, 1, 1, 0, 0),
    "HuntGroupWS": (4, 1, 1, 1, 1, 0, 0),
    "ReloadModulesWS": (5, 0, 5, 0, 0, 0, 0),
}
EFFECTS = ("read", "set", "create", "delete", "increment", "change_secret")
BESIDE = {
    "SubscriberWS.activateCallsOnlyByIp": "set",
    "SubscriberWS.blockCallsOnlyByIp": "set",
    "SubscriberWS.activateSoftphone": "set",
    "SubscriberWS.blockSoftphone": "set",
    "SubscriberWS.changePasswordWEB": "change_secret",
    "SubscriberWS.retrievePasswordWEB": "read",
    "SubscriberWS.retrieveSubscriberClassV": "read",
    "SubscriberWS.retrieveMonthlyQuotaDTO": "read",
    "SubscriberWS.updateMonthlyQuota": "set",
    "CustomerWS.authenticate": "read",
    "RateWS.updateRate": "set",
}
DIFFERENT = {
    "listAddresses": "lisAddresses",
    "insertAddresses": "insertAddress",
    "updateAddresses": "updateAddress",
    "removeAddresses": "removeAddress",
    "insertHuntGroups": "insertHuntGroup",
    "updateHuntGroups": "updateHuntGroup",
    "deleteWhiteList": "deletetWhiteList",
}


def test_all_documented_operations_are_there_with_their_effects() -> None:
    documented = list(OPERATIONS.values())[:DOCUMENTED]
    assert set(TABLE) == set(SERVICES)
    for service, (number, *effects) in TABLE.items():
        counted = Counter(each.effect for each in documented if each.service == service)
        assert [counted[effect] for effect in EFFECTS] == effects, service
        assert sum(counted.values()) == number, service


def test_the_operations_that_exist_beside_them_are_there() -> None:
    others = {each.endpoint: each.effect for each in list(OPERATIONS.values())[DOCUMENTED:]}
    assert others == BESIDE


@pytest.mark.parametrize("endpoint", OPERATIONS)
def test_every_operation_has_an_effect_and_a_check(endpoint: str) -> None:
    operation = OPERATIONS[endpoint]
    effect = Effect(operation.effect)
    if effect is Effect.READ:
        assert isinstance(operation.check, Nothing)
    else:
        assert isinstance(operation.check, Nothing) == (endpoint in UNSEEN)
    assert re.fullmatch(r"-|- \(.+\)|\w+.*", str(operation.check))


def test_a_check_is_made_by_reads_of_the_catalogue() -> None:
    for operation in OPERATIONS.values():
        if isinstance(operation.check, Nothing):
            continue
        read = OPERATIONS[operation.check.read]
        assert read.effect == "read"
        named = set(getattr(operation.check, "by", ()))
        assert named <= {field.name for field in read.parameters}


def test_where_servers_spell_otherwise_both_names_are_known() -> None:
    spelled = {each.name: each.spelled[0] for each in OPERATIONS.values() if each.spelled[0] != each.name}
    assert spelled == DIFFERENT
    assert SERVICES["WhitelistWS"] == ("WhiteListWS", "WhitelistWS")


def test_what_is_denied_by_default_returns_secrets_deletes_many_or_resellers() -> None:
    assert {each.endpoint for each in OPERATIONS.values() if each.denied} == {
        "SubscriberWS.retrievePassword",
        "SubscriberWS.retrievePasswordWEB",
        "RateWS.removeAllRatesByRateId",
        "ResellerWS.deleteReseller",
    }
    assert all(each.denied for each in OPERATIONS.values() if each.secret)


def test_only_customers_sign_in_themselves() -> None:
    assert {each.service for each in OPERATIONS.values() if not each.principal} == {"CustomerWS"}


def test_what_no_running_server_has_is_known() -> None:
    assert sorted(each.name for each in of_service("SubscriberWS") if each.known is Known.ABSENT) == [
        "activateTopologyHiding",
        "blockTopologyHiding",
        "deleteDBAliases",
        "insertDBAliases",
    ]


def test_the_docs_have_the_table_of_the_catalogue() -> None:
    written = (Path(__file__).parents[2] / "docs" / "sippulse.md").read_text(encoding="utf-8")
    assert page(written) == written, "run `python -m worker.messages.sippulse`"
