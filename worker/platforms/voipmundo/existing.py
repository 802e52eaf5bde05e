"""Held against the platform before a command is sent: the client it names. Reads only."""

from __future__ import annotations

from collections.abc import Sequence

from worker.domain.effect import Effect
from worker.domain.evidence import Reading
from worker.domain.outcome import Busy, Ill, Refused
from worker.messages.errors import Code
from worker.platforms.port import Order, Step, Unread
from worker.platforms.preview import Existing
from worker.platforms.rest import Answered, Heard


def client_named(order: Order) -> int | None:
    subscriber = order.data.get("subscriber")
    found = subscriber.get("id") if isinstance(subscriber, dict) else order.data.get("customer_id")
    return int(str(found)) if str(found).isdecimal() else None


def create_in(steps: Sequence[Step]) -> Step | None:
    """The making of a client, where it can be looked for."""
    return next((s for s in steps if s.effect is Effect.CREATE and s.readable), None)


def held_against(client: int, heard: Heard | Unread) -> Existing:
    what = f"client {client}"
    found = heard.what if isinstance(heard, Heard) else heard
    if isinstance(found, Answered):
        return Existing(what, there=True, wanted=True, said=f"{what} is there")
    if isinstance(found, Refused) and found.code is Code.NOT_FOUND and found.certain:
        text = (
            f'there is no {what}, the platform says: "{found.text}": the command would be rejected not_found'
        )
        return Existing(what, there=False, wanted=True, said=text)
    return Existing(what, there=None, wanted=True, said=f"{what} could not be read: {why(found)}")


def new_one(step: Step, found: Reading | Unread) -> Existing:
    name = step.params.get("nome_fantasia") or step.params.get("username")
    what = f"another {name}"
    if not isinstance(found, Reading):
        return Existing(
            what, there=None, wanted=False, said=f"whether {name} is there could not be read: {why(found)}"
        )
    if not found.present:
        return Existing(what, there=False, wanted=False, said=f"there is no {name} yet")
    ends = (
        "it is adopted if it agrees"
        if step.if_exists == "adopt"
        else "the command would be rejected already_exists"
    )
    text = f"there is a {name} already, with the id {found.platform_id}: {ends}"
    return Existing(what, there=True, wanted=False, said=text)


def why(unread: Unread) -> str:
    match unread:
        case Refused() | Ill():
            return f'the platform says: "{unread.text}"'
        case Busy():
            return "the platform asks us to come back later"
        case _:
            return unread.why
