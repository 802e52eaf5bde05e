"""SOAP 1.1 in and out: a request becomes a `Call`, an answer is built from string templates."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from xml.sax.saxutils import escape as _escape

from lxml import etree

from worker.simulators.common.exchange import Answer

from .wsdl import NAMESPACE, Field, Schema

Scalar = str | int | bool | Decimal | None
Values = dict[str, Scalar]
Repeated = list[Scalar] | list[Values]
Arguments = dict[str, Scalar | Values | Repeated]

SECRETS = frozenset(
    {
        "password",
        "passwordPortal",
        "voiceMailPassword",
        "voicemailPassword",
        "actualPassword",
        "newPassword",
        "confirmNewPassword",
        "pinCode",
        "principal",
    }
)

_ENVELOPE = "{http://schemas.xmlsoap.org/soap/envelope/}"
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_HEAD = (
    "<?xml version='1.0' encoding='UTF-8'?>"
    '<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>'
)
_TAIL = "</S:Body></S:Envelope>"
_CONTROLS = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Malformed(Exception):
    """The request is not one that the platform's stack could dispatch: answered by an undeclared fault."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: `arguments` by child name, objects as nested dicts, typed as the schema says."""

    service: str
    operation: str
    arguments: Arguments

    @property
    def name(self) -> str:
        return f"{self.service}.{self.operation}"

    @property
    def subject(self) -> tuple[str, str]:
        """(username, domain in lower case) of the subscriber it is about; empty where it names none."""
        holder = next((part for key, part in self.arguments.items() if _is_subject(key, part)), None)
        found: Mapping[str, object] = holder if isinstance(holder, dict) else self.arguments
        return str(found.get("username") or ""), str(found.get("domain") or "").lower()

    def principal(self) -> tuple[str, str]:
        """(login, password) as received."""
        given = self.arguments.get("principal")
        found = given if isinstance(given, dict) else {}
        return str(found.get("login") or ""), str(found.get("password") or "")


def _is_subject(key: str, part: object) -> bool:
    return key != "principal" and isinstance(part, dict) and "username" in part


def parse(service: str, schema: Schema, body: bytes) -> Call:
    """Read a request. Raises `Malformed` with a sentence that says why the stack would refuse it."""
    wrapper = _wrapper(body)
    name = etree.QName(wrapper)
    fields = schema.operations.get(name.localname)
    if name.namespace != NAMESPACE or fields is None:
        raise Malformed(f"Cannot find dispatch method for {wrapper.tag}")
    return Call(service, name.localname, _read(wrapper, fields, schema))


def _wrapper(body: bytes) -> etree._Element:
    # A parser of one's own per request: they keep an error log, which grows with every bad document.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise Malformed("Couldn't create SOAP message due to a parsing error") from error
    if root.getroottree().docinfo.doctype:  # type: ignore[union-attr] # always there in a parsed document
        raise Malformed("DTD is not supported by SOAP")
    found = root.find(f"{_ENVELOPE}Body")
    if root.tag != f"{_ENVELOPE}Envelope" or found is None or len(found) != 1:
        raise Malformed("Not a SOAP 1.1 envelope with one element in its Body")
    return found[0]


def _read(element: etree._Element, fields: tuple[Field, ...], schema: Schema) -> Arguments:
    """Children that the schema lacks are ignored; primitives left out are false or 0: both as JAXB does."""
    children: dict[str, list[etree._Element]] = {}
    for child in element:
        children.setdefault(str(child.tag), []).append(child)
    return {field.name: _values(children.get(field.name, []), field, schema) for field in fields}


def _values(children: list[etree._Element], field: Field, schema: Schema) -> Scalar | Values | Repeated:
    """Of a child that comes twice where it may not, the last counts, as with JAXB."""
    if field.many and field.type.startswith("tns:"):
        return [_object(child, field, schema) for child in children]
    if field.many:
        return [scalar(field, child.text or "") for child in children]
    if not children or children[-1].get(_NIL) in ("true", "1"):
        return _default(field)
    if field.type.startswith("tns:"):
        return _object(children[-1], field, schema)
    return scalar(field, children[-1].text or "")


def _object(element: etree._Element, field: Field, schema: Schema) -> Values:
    inner = _read(element, schema.types[field.type[4:]], schema)
    return {key: value for key, value in inner.items() if not isinstance(value, (dict, list))}


def _default(field: Field) -> Scalar:
    if not field.required:
        return None
    return False if field.type == "xs:boolean" else scalar(field, "0")


def scalar(field: Field, text: str) -> Scalar:
    """One value as its schema type; `Malformed` names the field, never the value."""
    try:
        match field.type:
            case "xs:boolean":
                return _BOOLEANS[text.strip()]
            case "xs:int" | "xs:long":
                return int(text.strip())
            case "xs:double":
                return _double(text.strip())
            case _:
                return text
    except (KeyError, ValueError, InvalidOperation) as error:
        raise Malformed(f"Unmarshalling Error: {field.name} is no {field.type}") from error


def _double(text: str) -> Decimal:
    """Kept as it was written, to the last digit; past what a double can hold it is refused."""
    value = Decimal(text)
    if value.is_finite() and abs(value.adjusted()) > 308:
        raise ValueError("no double is that large or small")
    return value


def plain(value: Scalar) -> str:
    """A value as XML and JSON texts show it: booleans in lower case, amounts without an exponent."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def escape(text: str) -> str:
    """Text for an XML element: what XML cannot hold at all becomes a question mark."""
    return _escape(_CONTROLS.sub("?", text))


def child(name: str, value: Scalar) -> str:
    """An element, or nothing for None."""
    return "" if value is None else f"<{name}>{escape(plain(value))}</{name}>"


def success(operation: str, inner: str) -> Answer:
    wrapper = f'<ns2:{operation}Response xmlns:ns2="{NAMESPACE}">{inner}</ns2:{operation}Response>'
    return Answer(200, (_HEAD + wrapper + _TAIL).encode(), "text/xml")


def declared_fault(text: str) -> Answer:
    """The fault that every operation declares: WSException with faultMessage."""
    detail = (
        f'<detail><ns2:WSException xmlns:ns2="{NAMESPACE}">'
        f"<faultMessage>{escape(text)}</faultMessage></ns2:WSException></detail>"
    )
    return _fault("S:Server", text, detail)


def undeclared_fault(text: str, code: str = "S:Server") -> Answer:
    """A fault of the stack itself, without detail."""
    return _fault(code, text, "")


def _fault(code: str, text: str, detail: str) -> Answer:
    inner = (
        '<S:Fault xmlns:ns4="http://www.w3.org/2003/05/soap-envelope">'
        f"<faultcode>{code}</faultcode><faultstring>{escape(text)}</faultstring>{detail}</S:Fault>"
    )
    return Answer(500, (_HEAD + inner + _TAIL).encode(), "text/xml", fault=text)
