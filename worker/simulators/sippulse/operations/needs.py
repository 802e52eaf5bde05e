"""What operations need of a request, of the state, and of an answer."""

from collections.abc import Iterable
from decimal import Decimal

from worker.simulators.sippulse import soap
from worker.simulators.sippulse.objects import Row, Table
from worker.simulators.sippulse.platform import Declared, Platform, Subscriber, Undeclared
from worker.simulators.sippulse.soap import Call, Scalar, Values, child

from .registry import MASK


def subscriber_of(platform: Platform, call: Call) -> Subscriber:
    found = platform.get(*call.subject)
    if found is None:
        raise Declared("unknown_subscriber")
    return found


def found(platform: Platform, call: Call) -> Subscriber | None:
    """The subscriber a read is about; None where this platform answers an empty reply for nobody."""
    there = platform.get(*call.subject)
    if there is not None:
        return there
    match platform.switches.absent:
        case "empty":
            return None
        case "record":
            return platform.nobody()
        case "undeclared":
            raise Undeclared
        case _:
            raise Declared("unknown_subscriber")


def values(call: Call, name: str) -> Values:
    given = call.arguments.get(name)
    if not isinstance(given, dict):
        raise Declared("missing", field=name)
    return given


def text(call: Call, name: str) -> str:
    given = call.arguments.get(name)
    if given is None or isinstance(given, (dict, list)) or given == "":
        raise Declared("missing", field=name)
    return soap.plain(given)


def amount(call: Call, name: str) -> Decimal:
    given = call.arguments.get(name)
    if not isinstance(given, Decimal):
        raise Declared("missing", field=name)
    if not given.is_finite():
        raise Declared("invalid_value", field=name)
    return given


def put(platform: Platform, call: Call, name: str, value: Scalar) -> str:
    subscriber_of(platform, call).dto[name] = value
    return ""


def secret(platform: Platform, value: Scalar, how: str = "same") -> Scalar:
    """A secret as this platform reads it back; a masked number cannot be written, so it is left out."""
    how = platform.switches.passwords if how == "same" else how
    if how == "returned" or value is None:
        return value
    return MASK if how == "masked" and isinstance(value, str) else None


def texts(call: Call, name: str) -> list[str]:
    """A repeated text; at least one."""
    given = call.arguments.get(name)
    found = (
        [soap.plain(each) for each in given if not isinstance(each, dict)] if isinstance(given, list) else []
    )
    if not found:
        raise Declared("missing", field=name)
    return found


def number(call: Call, name: str) -> int:
    given = call.arguments.get(name)
    if not isinstance(given, int) or isinstance(given, bool):
        raise Declared("missing", field=name)
    return given


def needed(values: Values, *names: str) -> Values:
    for name in names:
        if values.get(name) in (None, ""):
            raise Declared("missing", field=name)
    return values


# Objects of the platform, which the operations of one service keep ----------------------------------


def add(platform: Platform, table: str, values: Values, *names: str) -> Row:
    """A new row, unless there is one that is the same in these fields and this platform minds."""
    kept = platform.objects[table]
    same = {name: values.get(name) for name in names}
    if same and platform.switches.duplicates == "refuse" and kept.find(same):
        raise Declared("duplicate_object", what=table)
    return kept.add(values)


def row(platform: Platform, table: str, number: int) -> Row:
    found = platform.objects[table].find({"id": number})
    if not found:
        raise Declared("unknown_object", what=table)
    return found[0]


def row_of(platform: Platform, table: str, sent: Values) -> Row:
    """The row whose number an update names."""
    number = sent.get("id")
    if not isinstance(number, int):
        raise Declared("missing", field="id")
    return row(platform, table, number)


def drop(platform: Platform, table: str, same: Values) -> int:
    """Remove the rows that are so; how many. None at all: a fault, or nothing, as this platform has it."""
    kept: Table = platform.objects[table]
    found = kept.find(same)
    if not found and platform.switches.absent_writes == "fault":
        raise Declared("unknown_object", what=table)
    for each in found:
        kept.rows.remove(each)
    return len(found)


def overwrite(platform: Platform, row: Row, sent: Values, *fixed: str) -> None:
    """What was not sent is cleared or kept, as this platform has it."""
    keep = platform.switches.omitted == "keep"
    for name, value in sent.items():
        if name not in ("id", *fixed) and not (keep and value is None):
            row[name] = value


def element(platform: Platform, service: str, kind: str, name: str, values: Values) -> str:
    """An object of a type of this service's WSDL, as the child `name` of an answer."""
    fields = platform.schemas[service].types[kind]
    return f"<{name}>{''.join(child(each.name, values.get(each.name)) for each in fields)}</{name}>"


def elements(platform: Platform, service: str, kind: str, name: str, rows: Iterable[Values]) -> str:
    return "".join(element(platform, service, kind, name, each) for each in rows)
