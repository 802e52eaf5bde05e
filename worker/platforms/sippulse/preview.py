"""What a step would send, for people: the envelope with every secret as ***, and … for what is read first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from lxml import etree

from worker.domain.effect import Effect
from worker.domain.redaction import MASK, secrets_in
from worker.messages.sippulse.checks import AsSent
from worker.platforms.port import Step
from worker.platforms.preview import Preview
from worker.platforms.sippulse.client import Client
from worker.platforms.sippulse.plan import arguments
from worker.platforms.sippulse.soap import HEADERS, Operation, Unbuildable, parse
from worker.platforms.sippulse.steps import NativeStep, reads_of
from worker.settings import SippulseSettings

AS_READ = "…"  # stands for a value that is read from the platform just before the call
RECORD, BALANCE = "SubscriberWS.retrieveSubscriber", "SubscriberWS.retrieveCredit"
CALLS = "vi_cdrs"
SOME: Mapping[str, Any] = {"boolean": False, "int": 0, "long": 0, "double": Decimal(0)}

Hole = tuple[str, ...]  # path of an element whose value is not known yet


async def preview(step: Step, client: Client, settings: SippulseSettings) -> Preview:
    operation = await client.operation(step.endpoint)
    if operation is None:
        return Preview("", "", notes=_without_a_request(step), reads=reads(step, settings))
    what, holes = whole(step, operation)
    notes = tuple(_notes(step, holes, settings))
    try:
        body = operation.build(client.with_login(operation, what))
    except Unbuildable as error:
        return Preview("", "", notes=(f"its message cannot be built yet: {error}", *notes))
    text = client.masker(secrets_in(step.params))(_indented(body, holes))
    return Preview("POST", client.address(operation), _headers(settings), text, notes, reads(step, settings))


def _without_a_request(step: Step) -> tuple[str, ...]:
    if step.paged:
        return (f"it is read from the platform's database ({step.endpoint}), and sends no request",)
    return (f"this server's WSDL has no {step.endpoint}",)


def _headers(settings: SippulseSettings) -> dict[str, str]:
    return {**HEADERS, **({"Authorization": f"Basic {MASK}"} if settings.http_basic else {})}


# What goes out -------------------------------------------------------------------------------------------


def whole(step: Step, operation: Operation) -> tuple[dict[str, Any], list[Hole]]:
    """The arguments, with stand-ins for what is read first; and where those are."""
    if not isinstance(step, NativeStep):
        return arguments(step), []
    what, holes = dict(step.params), list[Hole]()
    for name in step.unsaid:
        kind = next((each.type for each in step.operation.parameters if each.name == name), "")
        what[name] = SOME.get(kind, AS_READ)
        holes.append((operation.spelling(name) or name,))
    if isinstance(step.operation.check, AsSent):
        for name, value in step.params.items():
            if isinstance(value, Mapping):
                what[name], found = _filled(operation, name, value)
                holes += found
    return what, holes


def _filled(operation: Operation, name: str, value: Mapping[str, Any]) -> tuple[dict[str, Any], list[Hole]]:
    given = {operation.spelling(name, inner) for inner in value}
    missing = {inner: kind for inner, kind in operation.demanded(name).items() if inner not in given}
    holes: list[Hole] = [(operation.spelling(name) or name, inner) for inner in missing]
    return {**value, **{inner: SOME.get(kind, AS_READ) for inner, kind in missing.items()}}, holes


def _indented(body: bytes, holes: list[Hole]) -> str:
    root = parse(body)
    for element, path in _places(root):
        if path in holes:
            element.text = AS_READ
    etree.indent(root, space="  ")
    return etree.tostring(root, encoding="unicode")


def _places(root: etree._Element) -> Iterator[tuple[etree._Element, Hole]]:
    """The arguments and their fields, each with its path."""
    for argument in root[-1][0]:
        name = etree.QName(argument).localname
        yield argument, (name,)
        yield from ((inner, (name, etree.QName(inner).localname)) for inner in argument)


# What is known only then ---------------------------------------------------------------------------------


def _notes(step: Step, holes: list[Hole], settings: SippulseSettings) -> Iterator[str]:
    if isinstance(step, NativeStep) and isinstance(step.operation.check, AsSent) and step.readable:
        stands = f"; {AS_READ} stands for fields that a message must have" if holes else ""
        yield f"what is there is read first, and all of it goes along with what was ordered{stands}"
    elif holes:
        yield f"read just before the call: {', '.join('.'.join(hole) for hole in holes)}"
    if step.after_adoption:
        yield "only where the subscriber was there before"
    if settings.assume.absent_writes == "silent" and step.effect in (Effect.SET, Effect.CHANGE_SECRET):
        yield "the subscriber is read first: this platform says nothing to a write to nobody"


def reads(step: Step, settings: SippulseSettings) -> tuple[str, ...]:
    """What shows whether it took effect; nothing where nothing does."""
    if step.effect is Effect.READ or not step.readable:
        return ()
    found = reads_of(step.operation.check) if isinstance(step, NativeStep) else (RECORD,)
    if step.effect is not Effect.INCREMENT:
        return found
    found = found if isinstance(step, NativeStep) else (BALANCE,)
    return (*found, CALLS) if settings.call_records.url is not None else found
