"""The simulator's own WSDLs: where they lie, what they say of each operation, and how they are served."""

import re
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

NAMESPACE = "http://service.ws.sippulse.voffice.com.br/"
SERVICES = (
    "AccountGroupWS",
    "AddressWS",
    "CustomerWS",
    "DialplanWS",
    "DidWS",
    "DomainWS",
    "HuntGroupWS",
    "ProfileWS",
    "RatePlanWS",
    "RateWS",
    "ReloadModulesWS",
    "ResellerWS",
    "SubscriberWS",
    "UserLocationWS",
    "WhiteListWS",
)

_XS = "{http://www.w3.org/2001/XMLSchema}"
_ADDRESS = re.compile(rb'(<soap:address\s+location=")[^"]*(")')


@dataclass(frozen=True, slots=True)
class Field:
    """A child element: `type` is `xs:...` for a scalar, `tns:...` for an object; `many`: it may be repeated."""

    name: str
    type: str
    required: bool
    many: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """One service: its complex types, and by operation the children of the request wrapper."""

    types: dict[str, tuple[Field, ...]]
    operations: dict[str, tuple[Field, ...]]


def folder() -> Path:
    """Where the WSDLs lie: in the clone beside `worker/`, in a built wheel inside it."""
    package = Path(__file__).resolve().parents[2]
    places = [root / "contracts" / "platforms" / "sippulse" for root in (package.parent, package)]
    for place in places:
        if (place / "SubscriberWS.wsdl").is_file():
            return place
    raise FileNotFoundError(f"no SubscriberWS.wsdl in {places[0]} nor in {places[1]}: is the clone complete?")


def text(service: str, address: str) -> bytes:
    """The WSDL of a service as it is served, with `address` as the endpoint's URL."""
    source = (folder() / f"{service}.wsdl").read_bytes()
    return _ADDRESS.sub(rb"\g<1>" + address.encode().replace(b"\\", b"") + rb"\g<2>", source)


def schemas() -> dict[str, Schema]:
    """Read all WSDLs: service name -> schema."""
    return {service: _schema(etree.parse(folder() / f"{service}.wsdl").getroot()) for service in SERVICES}


def _schema(root: etree._Element) -> Schema:
    types = {str(found.get("name")): _fields(found) for found in root.iter(f"{_XS}complexType")}
    names = [name for name in types if f"{name}Response" in types]
    return Schema(types=types, operations={name: types[name] for name in names})


def _fields(complex_type: etree._Element) -> tuple[Field, ...]:
    return tuple(
        Field(
            str(found.get("name")),
            str(found.get("type")),
            found.get("minOccurs") != "0",
            found.get("maxOccurs") == "unbounded",
        )
        for found in complex_type.iter(f"{_XS}element")
    )
