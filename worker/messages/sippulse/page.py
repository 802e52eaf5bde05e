"""The table of docs/sippulse.md, made from the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from worker.messages.sippulse.operations import DOCUMENTED, OPERATIONS, SERVICES, Known, Operation
from worker.messages.sippulse.shapes import Field

BEGIN = "<!-- The table is made from the code: python -m worker.messages.sippulse -->"
END = "<!-- End of the table -->"
SHAPES = {
    Known.WIRE: "server",
    Known.CLIENT: "clients",
    Known.DOCUMENTS: "documents",
    Known.ABSENT: "documents; the known server lacks it",
}


def page(old: str) -> str:
    """The page with its table as the catalogue has it."""
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{''.join(_rows())}\n{END}{after}"


def _rows() -> Iterator[str]:
    yield "| operation | on the wire | data | shape known from | effect | what shows it |\n"
    yield "|---|---|---|---|---|---|\n"
    for number, operation in enumerate(OPERATIONS.values()):
        if number == DOCUMENTED:
            yield "| **not named by the documents** | | | | | |\n"
        yield f"| {' | '.join(_cells(operation))} |\n"


def _cells(operation: Operation) -> tuple[str, ...]:
    wire = f"{SERVICES[operation.service][0]}.{operation.spelled[0]}"
    marks = [operation.denied and "denied by default: " + operation.denied, operation.note]
    note = "; ".join(mark for mark in marks if mark)
    effect = operation.effect.replace("_", " ")
    return (
        f"`{operation.endpoint}`",
        "same" if wire == operation.endpoint else f"`{wire}`",
        _data(operation) + (f" ({note})" if note else ""),
        SHAPES[operation.known],
        effect,
        str(operation.check),
    )


def _data(operation: Operation) -> str:
    parts = [_said(field) for field in operation.parameters]
    if operation.look_in:
        parts.append(f"`look_in` {{{', '.join(field.name for field in operation.look_in)}}}?")
    return ", ".join(parts) or "-"


def _said(field: Field) -> str:
    many = "[]" if field.many else ""
    inside = f" {{{', '.join(field.needs)}, …}}" if field.needs else ""
    return f"`{field.name}{many}`{inside}{'?' if field.optional else ''}"
