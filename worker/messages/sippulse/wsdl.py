"""The bundled WSDLs, written from the catalogue: one file a service, under the name that servers give it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from worker.messages.sippulse.operations import SERVICES, Known, Operation, of_service
from worker.messages.sippulse.shapes import SIMPLE, Field, type_of

NAMESPACE = "http://service.ws.sippulse.voffice.com.br/"
_PRINCIPAL = Field("principal", "userPrincipalDTO")

SHAPES = {
    Known.WIRE: "As the WSDL of a running SIPPulse (PCRT 5.2 or later) has them",
    Known.CLIENT: (
        "As clients that were compiled against a running server call them; where those do not show the name of "
        "a child, it is assumed"
    ),
    Known.DOCUMENTS: "As documented, for no running server was seen; names of children are assumed",
    Known.ABSENT: (
        "Documented, but not in the WSDL of the one running server that we know: not offered with "
        'wsdl = "bundled", unless assume.all_documented_operations is set'
    ),
}

_HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<!--
  SIPPulse {service}: {count}. Made from the worker's catalogue of operations.
  Document/literal wrapped, schema inlined, wrapper children unqualified and optional, fields of complex types
  in alphabetical order as JAXB writes them. A field without minOccurs="0" is a Java primitive on the server: it
  must be sent.
{known}
-->
<wsdl:definitions name="SipPulse" targetNamespace="{namespace}"
    xmlns:tns="{namespace}"
    xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/"
    xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <wsdl:types>
    <xs:schema version="1.0" elementFormDefault="unqualified" targetNamespace="{namespace}">
"""
_PORT_OPERATION = """\
    <wsdl:operation name="{name}">
      <wsdl:input message="tns:{name}"/>
      <wsdl:output message="tns:{name}Response"/>
      <wsdl:fault name="WSException" message="tns:WSException"/>
    </wsdl:operation>
"""
_BOUND_OPERATION = """\
    <wsdl:operation name="{name}">
      <soap:operation soapAction=""/>
      <wsdl:input>
        <soap:body use="literal"/>
      </wsdl:input>
      <wsdl:output>
        <soap:body use="literal"/>
      </wsdl:output>
      <wsdl:fault name="WSException">
        <soap:fault name="WSException" use="literal"/>
      </wsdl:fault>
    </wsdl:operation>
"""
_TAIL = """\
  <wsdl:service name="SipPulse">
    <wsdl:port name="{service}Port" binding="tns:{service}PortBinding">
      <soap:address location="http://sippulse.example:8080/SipPulse/{service}"/>
    </wsdl:port>
  </wsdl:service>
</wsdl:definitions>
"""


def files() -> dict[str, str]:
    """File name -> WSDL of every service."""
    return {f"{spelled[0]}.wsdl": text(service) for service, spelled in SERVICES.items()}


def text(service: str) -> str:
    """The WSDL of a service by its documented name."""
    spelled = SERVICES[service][0]
    operations = sorted(of_service(service), key=lambda each: each.spelled[0])
    names = [each.spelled[0] for each in operations]
    return "".join(
        (
            _head(spelled, operations),
            *_elements(names),
            *_wrappers(operations),
            *(_type(name, type_of(name)) for name in _types(operations)),
            "    </xs:schema>\n  </wsdl:types>\n",
            *_messages(names),
            f'  <wsdl:portType name="{spelled}">\n',
            *(_PORT_OPERATION.format(name=name) for name in names),
            f'  </wsdl:portType>\n  <wsdl:binding name="{spelled}PortBinding" type="tns:{spelled}">\n',
            '    <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>\n',
            *(_BOUND_OPERATION.format(name=name) for name in names),
            "  </wsdl:binding>\n",
            _TAIL.format(service=spelled),
        )
    )


def _head(service: str, operations: list[Operation]) -> str:
    count = "1 operation" if len(operations) == 1 else f"{len(operations)} operations"
    return _HEAD.format(
        service=service, count=count, namespace=NAMESPACE, known="\n".join(_known(operations))
    )


def _known(operations: list[Operation]) -> Iterator[str]:
    """What is known of these operations; the names are left out of what holds for most of them."""
    names: dict[Known, list[str]] = {}
    for each in operations:
        names.setdefault(each.known, []).append(each.spelled[0])
    usual = max(names, key=lambda known: len(names[known]))
    for known in sorted(names, key=lambda known: known is usual):
        which = "the others" if len(names) > 1 else "all"
        listed = which if known is usual else ", ".join(names[known])
        yield from textwrap.wrap(
            f"{SHAPES[known]}: {listed}.", 108, initial_indent="  ", subsequent_indent="  "
        )


def _elements(names: list[str]) -> Iterator[str]:
    for name in ("WSException", *_pairs(names)):
        kind = "wsExceptionMessage" if name == "WSException" else name
        yield f'      <xs:element name="{name}" type="tns:{kind}"/>\n'


def _pairs(names: list[str]) -> Iterator[str]:
    """Request and answer of each."""
    for name in names:
        yield from (name, f"{name}Response")


def _wrappers(operations: list[Operation]) -> Iterator[str]:
    for each in operations:
        last = (_PRINCIPAL,) if each.principal else ()
        yield _type(each.spelled[0], (*each.parameters, *last))
        yield _type(f"{each.spelled[0]}Response", (each.returns,) if each.returns else ())


def _types(operations: list[Operation]) -> list[str]:
    fields = [
        *(field for each in operations for field in each.parameters),
        *(each.returns for each in operations if each.returns),
    ]
    if any(each.principal for each in operations):
        fields.append(_PRINCIPAL)
    return sorted({field.type for field in fields if not field.simple} | {"wsExceptionMessage"})


def _type(name: str, fields: Iterable[Field]) -> str:
    inside = "".join(map(_element, fields))
    sequence = (
        f"        <xs:sequence>\n{inside}        </xs:sequence>\n" if inside else "        <xs:sequence/>\n"
    )
    return f'      <xs:complexType name="{name}">\n{sequence}      </xs:complexType>\n'


def _element(field: Field) -> str:
    kind = f"xs:{field.type}" if field.type in SIMPLE else f"tns:{field.type}"
    least = "" if field.primitive else ' minOccurs="0"'
    most = ' maxOccurs="unbounded"' if field.many else ""
    return f'          <xs:element name="{field.name}" type="{kind}"{least}{most}/>\n'


def _messages(names: list[str]) -> Iterator[str]:
    for name in _pairs(names):
        yield _message(name, "parameters", name)
    yield _message("WSException", "fault", "WSException")


def _message(name: str, part: str, element: str) -> str:
    return (
        f'  <wsdl:message name="{name}">\n'
        f'    <wsdl:part name="{part}" element="tns:{element}"/>\n'
        "  </wsdl:message>\n"
    )
