"""The bundled WSDLs have the shape of a running SIPPulse, as zeep reads them."""

import re
from typing import Any

import pytest
import zeep
from lxml import etree

from worker.simulators.sippulse import wsdl
from worker.simulators.sippulse.operations import OPERATIONS

NS = "{" + wsdl.NAMESPACE + "}"
PRINCIPAL = {"login": "admin", "password": "secret"}
COUNTS = {
    "AccountGroupWS": 3,
    "AddressWS": 4,
    "CustomerWS": 3,
    "DialplanWS": 1,
    "DidWS": 4,
    "DomainWS": 1,
    "HuntGroupWS": 4,
    "ProfileWS": 1,
    "RatePlanWS": 4,
    "RateWS": 5,
    "ReloadModulesWS": 5,
    "ResellerWS": 5,
    "SubscriberWS": 49,
    "UserLocationWS": 3,
    "WhiteListWS": 3,
}


def zeep_client(path: str) -> Any:
    return zeep.Client(path)  # type: ignore[no-untyped-call] # zeep has no types


@pytest.fixture(scope="module")
def subscriber_ws() -> Any:
    return zeep_client(str(wsdl.folder() / "SubscriberWS.wsdl"))


def mandatory(client: Any) -> dict[str, object]:
    """The fields that zeep refuses to leave out, each with a value of its type."""
    elements = client.get_type(f"{NS}subscriberDTO").elements
    return {
        name: 0 if element.type.name != "boolean" else False
        for name, element in elements
        if element.min_occurs
    }


def envelope(client: Any, operation: str, **arguments: object) -> str:
    return etree.tostring(client.create_message(client.service, operation, **arguments)).decode()


@pytest.mark.parametrize(("service", "operations"), COUNTS.items())
def test_each_service_loads_with_its_operations(service: str, operations: int) -> None:
    client = zeep_client(str(wsdl.folder() / f"{service}.wsdl"))
    port = client.wsdl.services["SipPulse"].ports[f"{service}Port"]
    found = list(port.binding.all().values())
    assert len(found) == operations
    assert all(each.soapaction == "" and "WSException" in each.faults for each in found)


def test_a_subscriber_has_50_fields_in_alphabetical_order_14_of_them_mandatory(
    subscriber_ws: Any,
) -> None:
    names = [name for name, _ in subscriber_ws.get_type(f"{NS}subscriberDTO").elements]
    assert len(names) == 50
    assert names == sorted(names)
    assert len(mandatory(subscriber_ws)) == 14


@pytest.mark.parametrize("operation", ["insertSubscriber", "updateSubscriber"])
def test_a_subscriber_without_a_mandatory_field_is_not_even_sent(subscriber_ws: Any, operation: str) -> None:
    whole = mandatory(subscriber_ws)
    assert "<subscriber>" in envelope(subscriber_ws, operation, subscriber=whole, principal=PRINCIPAL)
    for missing in whole:
        part = {name: value for name, value in whole.items() if name != missing}
        with pytest.raises(zeep.exceptions.ValidationError, match=missing):
            envelope(subscriber_ws, operation, subscriber=part, principal=PRINCIPAL)


def test_wrapper_children_are_unqualified_and_in_the_declared_order(subscriber_ws: Any) -> None:
    text = envelope(
        subscriber_ws, "addCredit", principal=PRINCIPAL, obs="o", value=1.5, domain="d", username="u"
    )
    children = re.findall(r"<(username|domain|value|obs|principal)>", text)
    assert children == ["username", "domain", "value", "obs", "principal"]
    assert f'<ns0:addCredit xmlns:ns0="{wsdl.NAMESPACE}">' in text


def test_every_wrapper_child_may_be_left_out(subscriber_ws: Any) -> None:
    assert "addCredit" in envelope(subscriber_ws, "addCredit")


def test_every_operation_of_the_wsdls_is_simulated() -> None:
    assert set(wsdl.SERVICES) == set(COUNTS)
    known = [name for schema in wsdl.schemas().values() for name in schema.operations]
    assert len(known) == len(set(known)) == sum(COUNTS.values()) == 95
    assert set(OPERATIONS) == set(known)


def test_a_served_wsdl_names_the_address_it_is_served_at() -> None:
    served = wsdl.text("DomainWS", "http://127.0.0.1:8081/SipPulse/DomainWS")
    assert b'location="http://127.0.0.1:8081/SipPulse/DomainWS"' in served
    assert b"sippulse.example" not in served
