"""The tables of native commands in docs/<kind>.md, made from the OpenAPI files."""

from __future__ import annotations

from collections.abc import Iterator

from worker.messages.rest.document import table
from worker.messages.rest.operations import Check, Datum, Operation, Place

BEGIN = "<!-- The table is made from the OpenAPI file: python -m worker.messages.rest -->"
END = "<!-- End of the table -->"


def page(old: str, kind: str) -> str:
    """The page with its table as the file has it."""
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{''.join(_rows(kind))}\n{END}{after}"


def _rows(kind: str) -> Iterator[str]:
    yield "| command | request | data | source | effect | what shows it |\n"
    yield "|---|---|---|---|---|---|\n"
    for operation in table(kind).values():
        yield f"| {' | '.join(_cells(operation))} |\n"


def _cells(operation: Operation) -> tuple[str, ...]:
    marks = [
        operation.denied and f"denied by default: {operation.denied}",
        operation.secret and "its answer goes only to reply_to",
    ]
    note = "; ".join(mark for mark in marks if mark)
    source = operation.source or "-"
    return (
        f"`{operation.type}`",
        f"`{operation.method} {operation.path}`",
        (", ".join(map(_said, operation.asked)) or "-") + (f" ({note})" if note else ""),
        f"{source}, undocumented" if operation.undocumented else source,
        operation.effect.replace("_", " "),
        shown(operation),
    )


def _said(datum: Datum) -> str:
    return f"`{datum.name}`{'' if datum.required or datum.place is Place.PATH else '?'}"


def shown(operation: Operation) -> str:
    """How the effect shows in a read, in words."""
    check = operation.check
    if check is None:
        return "-"
    read = check.read.removesuffix(".v1").partition(".")[2]
    which = f", the one with that {' + '.join(check.same.values())}" if check.same else ""
    return f"{read}{which}: {_what(operation, check)}"


def _what(operation: Operation, check: Check) -> str:
    if check.balance:
        return f"{check.balance} has moved by the amount"
    if operation.effect == "delete":
        return "absent"
    if check.shows is None:
        return "every field that was sent and is shown"
    if len(check.shows) > 4:
        return "the fields that were sent"
    return (
        ", ".join(
            f"{name} = {said['const'] if isinstance(said, dict) else said}"
            for name, said in check.shows.items()
        )
        or "it is there"
    )
