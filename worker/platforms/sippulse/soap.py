"""SOAP 1.1 through zeep: messages are built and read by the WSDL; sending them is the transport's."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeVar
from xml.sax.saxutils import escape

from lxml import etree
from zeep.exceptions import Error as ZeepError
from zeep.xsd.types import ComplexType
from zeep.xsd.valueobjects import CompoundValue

from worker.messages.sippulse.operations import spellings
from worker.platforms.sippulse.fields import text

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
XSD = "http://www.w3.org/2001/XMLSchema"
HEADERS = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}

# zeep reads what it cannot understand as None or False; a flag read so would be a wrong proof.
_LEXICAL = {
    "boolean": re.compile(r"\s*(true|false|1|0)\s*"),
    "int": re.compile(r"\s*[+-]?[0-9]+\s*"),
    "long": re.compile(r"\s*[+-]?[0-9]+\s*"),
    "integer": re.compile(r"\s*[+-]?[0-9]+\s*"),
    "double": re.compile(r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"),
}


class Garbage(Exception):
    """An answer that is not what the operation promises. The text never quotes the answer."""


class Unbuildable(Exception):
    """The WSDL in use does not let this message be built. The text names fields, never values."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A soap Fault. `declared`: its detail is the WSException that the WSDL announces."""

    declared: bool
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Result:
    """What stood in the answer: None, a scalar, a list, or for a complex type a mapping by wire names."""

    value: Any = field(repr=False)


Path = tuple[str, ...]  # of an argument, or of a field in an argument
Shape = tuple[Path, ...]
MOST_FORMS = 64  # shapes kept of one operation


@dataclass(frozen=True, slots=True)
class Form:
    """A message as zeep built it, cut at its values: `texts` around the values of `paths`."""

    texts: tuple[str, ...]
    paths: tuple[Path, ...]

    def filled(self, values: Mapping[Path, Any]) -> bytes:
        """Raises Unbuildable for a text that XML cannot carry."""
        parts = [self.texts[0]]
        for path, behind in zip(self.paths, self.texts[1:], strict=True):
            parts += [_written(path, values[path]), behind]
        return "".join(parts).encode()


def _written(path: Path, value: str | int | Decimal) -> str:
    if not isinstance(value, str):
        return str(value)
    try:
        return escape(text(value), _CARRIAGE_RETURN)
    except ValueError as error:
        raise Unbuildable(f"{'.'.join(path)}: {error}") from None


_CARRIAGE_RETURN = {"\r": "&#13;"}  # which a reader would otherwise take for the end of a line


def _leaves(arguments: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    for name, value in arguments.items():
        if isinstance(value, Mapping):
            yield from (((name, inner), each) for inner, each in value.items())
        else:
            yield (name,), value


def _is_plain(value: Any) -> bool:
    """A value that stands in a message as it is written. An empty text need not: zeep may leave it out."""
    return (isinstance(value, (int, Decimal)) and not isinstance(value, bool)) or (
        isinstance(value, str) and value != ""
    )


T = TypeVar("T")


def _named(known: Mapping[str, T], name: str) -> T | None:
    """What a server has under this name, or under the one other spelling of it that it has."""
    found = known.get(name.lower())
    if found is None:
        others = [other for other in spellings().get(name.lower(), ()) if other in known]
        return known[others[0]] if len(others) == 1 else None
    return found


def _objects(value: Any) -> list[Mapping[str, Any]]:
    """The object, or the objects of a list."""
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, Mapping)]


def _respelled(value: Mapping[str, Any], inner: Mapping[str, str]) -> dict[str, Any]:
    return {_named(inner, name) or name: content for name, content in value.items()}


class Operation:
    """One operation of one service, built and read by zeep. Holds no state of a call."""

    def __init__(self, service: str, name: str, bound: Any) -> None:
        """`bound` is zeep's Soap11Operation, `name` as this server spells it."""
        self.service, self.name = service, name
        self._bound = bound
        self._forms: dict[Shape, Form | None] = {}

    def __repr__(self) -> str:
        return f"Operation({self.service}.{self.name})"

    @cached_property
    def names(self) -> Mapping[str, tuple[str, Mapping[str, str]]]:
        """Argument in lower case -> (as this server spells it, the same for its own fields)."""
        return {
            each.lower(): (each, {inner.lower(): inner for inner, _ in _children(element)})
            for each, element in _children(self._bound.input.body)
        }

    def lacks(self, arguments: Mapping[str, Any]) -> list[str]:
        """The arguments, and fields of arguments, that this server's WSDL does not have in any spelling."""
        missing = []
        for name, value in arguments.items():
            known = _named(self.names, name)
            if known is None:
                missing.append(name)
            else:
                inside = {inner: None for each in _objects(value) for inner in each}
                missing += [f"{name}.{inner}" for inner in inside if _named(known[1], inner) is None]
        return missing

    def spelling(self, name: str, inner: str | None = None) -> str | None:
        """How this server spells an argument, or a field of it; None: it has no such."""
        known = _named(self.names, name)
        if known is None or inner is None:
            return known and known[0]
        return _named(known[1], inner)

    def demanded(self, name: str) -> dict[str, str]:
        """Fields without which this server takes no argument `name`: as it spells them -> the type."""
        spelled = self.spelling(name)
        element = dict(_children(self._bound.input.body)).get(spelled or "")
        inside = [] if element is None else _children(element)
        return {inner: str(each.type.qname.localname) for inner, each in inside if not each.is_optional}

    def answers(self, name: str) -> bool:
        """Whether the answer, or the objects in it, have a field of this name."""
        answer = dict(_children(self._bound.output.body))
        inside = {inner.lower(): inner for element in answer.values() for inner, _ in _children(element)}
        return _named(inside, name) is not None

    def build(self, arguments: Mapping[str, Any]) -> bytes:
        """The envelope. Raises Unbuildable where names or mandatory fields do not fit the WSDL.

        zeep builds the first message of a shape; the next ones only fill other values in.
        """
        values = dict(_leaves(arguments))
        form = self._form(tuple(values)) if all(map(_is_plain, values.values())) else None
        return self._built(arguments) if form is None else form.filled(values)

    def _form(self, shape: Shape) -> Form | None:
        """None: not a message whose values stand in it as they are."""
        if shape not in self._forms:
            if len(self._forms) >= MOST_FORMS:
                self._forms.clear()
            self._forms[shape] = self._made(shape)
        return self._forms[shape]

    def _made(self, shape: Shape) -> Form | None:
        marks = {path: f"value-{number}-{secrets.token_hex(8)}" for number, path in enumerate(shape)}
        arguments: dict[str, Any] = {}
        for (name, *inner), mark in marks.items():
            if inner:
                arguments.setdefault(name, {})[inner[0]] = mark
            else:
                arguments[name] = mark
        built = self._built(arguments).decode()
        found = re.split(f"({'|'.join(marks.values())})", built) if marks else [built]
        if sorted(found[1::2]) != sorted(marks.values()):
            return None  # a boolean, say, which zeep makes "true" of any text
        paths = {mark: path for path, mark in marks.items()}
        return Form(tuple(found[::2]), tuple(paths[mark] for mark in found[1::2]))

    def _built(self, arguments: Mapping[str, Any]) -> bytes:
        if missing := self.lacks(arguments):
            raise Unbuildable(f"{self.service}.{self.name} has no {', '.join(missing)} in this WSDL")
        try:
            content = self._bound.create(**self._spelled(arguments)).content
        except (ZeepError, TypeError, ValueError) as error:
            where = getattr(error, "path", None)
            said = f" at {'.'.join(map(str, where))}" if where else ""
            raise Unbuildable(f"{self.service}.{self.name}: {type(error).__name__}{said}") from None
        return bytes(etree.tostring(content, xml_declaration=True, encoding="UTF-8"))

    def _spelled(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, value in arguments.items():
            known = _named(self.names, name)
            assert known is not None, name  # nothing is lacking
            spelled, inner = known
            if isinstance(value, Mapping):
                value = _respelled(value, inner)
            elif isinstance(value, list):
                value = [_respelled(each, inner) if isinstance(each, Mapping) else each for each in value]
            found[spelled] = value
        return found

    def read(self, body: bytes) -> Result | Fault:
        """A whole answer's body. Raises Garbage for everything that is not this operation's reply."""
        envelope = parse(body)
        content = _content(envelope)
        if content.tag == f"{{{ENVELOPE}}}Fault":
            return self._fault(content)
        expected = self._bound.output.body
        if content.tag != expected.qname.text:
            raise Garbage("the answer is to another operation")
        _check(content, expected.type)
        if self._says_nothing:
            return Result(None)  # as zeep would, at a good part of what reading costs
        try:
            value = self._bound.process_reply(envelope)
        except (ZeepError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise Garbage(f"the answer does not fit the WSDL ({type(error).__name__})") from None
        return Result(_plain(value))

    @cached_property
    def _says_nothing(self) -> bool:
        """Whether the reply is an element without anything in it, as most of what changes something answers."""
        kind = self._bound.output.body.type
        return isinstance(kind, ComplexType) and not kind.elements and not kind.attributes

    def _fault(self, fault: etree._Element) -> Fault:
        namespace = etree.QName(self._bound.output.body.qname.text).namespace
        detail = fault.find("detail")
        declared = None if detail is None else detail.find(f"{{{namespace}}}WSException")
        said = None if declared is None else declared.findtext("faultMessage")
        return Fault(declared is not None, (said or fault.findtext("faultstring") or "").strip())


MOST_ATTRIBUTES = (
    1000  # of one element, "=" in its text included: reading them costs the square of their number
)


def parse(body: bytes) -> etree._Element:
    """The root of an XML text from outside. Raises Garbage; entities are never resolved, nothing is fetched."""
    if body.count(b"=") > MOST_ATTRIBUTES and any(
        part.count(b"=") > MOST_ATTRIBUTES for part in body.split(b"<")
    ):
        raise Garbage("an element of the answer has too many attributes")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise Garbage("the answer is no XML") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise Garbage("the answer declares a document type")
    return root


def _content(envelope: etree._Element) -> etree._Element:
    body = envelope.find(f"{{{ENVELOPE}}}Body") if envelope.tag == f"{{{ENVELOPE}}}Envelope" else None
    if body is None:
        raise Garbage("the answer is no SOAP 1.1 envelope")
    inside = [child for child in body if isinstance(child.tag, str)]
    if len(inside) != 1:
        raise Garbage("the SOAP body does not hold exactly one element")
    return inside[0]


def _children(element: Any) -> list[tuple[str, Any]]:
    """(name, zeep element) of what a zeep element's type holds; nothing for simple types."""
    return list(getattr(element.type, "elements", ()))


def _check(node: etree._Element, kind: Any) -> None:
    """Raise Garbage where a value is not one of its type, or a single element comes twice.

    What a newer server adds is taken out, and the rest put into the schema's order: zeep would stumble.
    """
    places = {name: (place, element) for place, (name, element) in enumerate(getattr(kind, "elements", ()))}
    order = []
    for child in list(node):
        name = etree.QName(child).localname if isinstance(child.tag, str) else ""
        if name not in places:
            node.remove(child)
            continue
        place, element = places[name]
        if place in order and not element.accepts_multiple:
            raise Garbage(f"the answer holds {name} twice")
        order.append(place)
        if hasattr(element.type, "elements"):
            _check(child, element.type)
        else:
            _check_text(name, child, element.type)
    if order != sorted(order):
        node[:] = [child for _, child in sorted(zip(order, node, strict=True), key=lambda pair: pair[0])]


def _check_text(name: str, node: etree._Element, kind: Any) -> None:
    pattern = _LEXICAL.get(kind.qname.localname) if kind.qname.namespace == XSD else None
    if len(node):
        raise Garbage(f"{name} in the answer holds elements")
    if pattern is not None and node.text is not None and not pattern.fullmatch(node.text):
        raise Garbage(f"{name} in the answer is no {kind.qname.localname}")


def _plain(value: Any) -> Any:
    if isinstance(value, CompoundValue):
        return {name: _plain(inner) for name, inner in value.__values__.items() if name != "_raw_elements"}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
