"""JSON from strangers: strict, bounded, and with the place of the first flaw.

The straight path costs one scan for brackets and one `json` call. Only a text that has a flaw is read a
second time, leniently, so that its id may still be known and the flaw's place can be named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

MOST_DEPTH = 32
MOST_BRACKETS = 300_000  # more than a message that is not too large can hold; bounds the scan below
MOST_DIGITS = 18  # of a whole number: it fits into 64 bits everywhere
INFINITE = float("inf")

# A text that is never closed goes to the end, so that no quote in it is tried as the beginning of another.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
# An escape that may stand for one of them; whole surrogate pairs are looked at too, and found well.
_SUSPICIOUS = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Flaw(Exception):
    """Something that strict reading refuses."""


@dataclass(frozen=True, slots=True)
class Marked:
    """Stands in a leniently read document where a flaw was."""

    why: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a text holds. With `flaw` set, `value` is as much as could be read (None: nothing)."""

    value: Any
    flaw: str | None = None
    path: str | None = None  # where the flaw is, e.g. data.subscriber.username


def parse(text: bytes) -> Parsed:
    """Read one JSON text in UTF-8."""
    if not text.strip():
        return Parsed(None, "the body is empty")
    if text.count(b"[") + text.count(b"{") > MOST_BRACKETS:
        return Parsed(None, "it holds too many lists and objects")
    if too_deep(text):
        return _shallow(text)
    try:
        string = text.decode()
    except UnicodeDecodeError as error:
        return Parsed(None, f"it is not UTF-8: byte {error.start} cannot be read")
    try:
        value = _STRICT.decode(string)
    except Flaw:
        return _lenient(string)
    except ValueError as error:
        return _unreadable(error)
    if _SUSPICIOUS.search(string):
        path, why = next(_flaws(value, ""), (None, None))
        return Parsed(value, why, path)
    return Parsed(value)


def too_deep(text: bytes) -> bool:
    """Whether brackets nest deeper than MOST_DEPTH. Never recurses, so that no depth can hurt it."""
    if text.count(b"[") + text.count(b"{") <= MOST_DEPTH:
        return False
    depth = 0
    for token in _TOKENS.finditer(text):
        first = text[token.start()]
        if first in b"[{":
            depth += 1
            if depth > MOST_DEPTH:
                return True
        elif first in b"]}":
            depth -= 1
    return False


def _shallow(text: bytes) -> Parsed:
    """Only the two outer levels of a text that nests too deep, and which part of them goes down so far."""
    why = f"it is nested deeper than {MOST_DEPTH} levels"
    kept, start, depth, deepest = bytearray(), 0, 0, 0
    for token in _TOKENS.finditer(text):
        first = text[token.start()]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
            if depth == 3:
                kept += text[start : token.start()]
        elif first in b"]}":
            if depth == 3:
                # The lenient reader marks the place of a NaN.
                kept += b"NaN" if deepest > MOST_DEPTH else b"null"
                start, deepest = token.end(), 0
            depth -= 1
    if depth >= 3:
        return Parsed(None, why)  # it breaks off down there
    outer = _lenient((kept + text[start:]).decode(errors="replace"))
    return Parsed(outer.value, why, outer.path)


def shown(name: str, most: int = 80) -> str:
    """A name from a stranger's text, fit to stand in a sentence."""
    clean = _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", name[: most + 1])
    return clean if len(name) <= most else clean[:most] + "…"


def _lenient(string: str) -> Parsed:
    try:
        value = _LENIENT.decode(string)
    except ValueError as error:
        return _unreadable(error)
    path, why = next(_flaws(value, ""), (None, "it holds something that cannot be read"))
    return Parsed(_without_marks(value), why, path or None)


def _unreadable(error: ValueError) -> Parsed:
    """Where it stopped being JSON. The decoder's own sentence quotes nothing of the text."""
    if isinstance(error, json.JSONDecodeError):
        return Parsed(None, f"it is not JSON: {error.msg} (line {error.lineno}, column {error.colno})")
    return Parsed(None, "it is not JSON that can be read")


def _flaws(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Where the document has flaws, in its own order. The depth is bounded before."""
    match value:
        case Marked(why):
            yield path, why
        case str():
            if held := unstorable(value):
                yield path, f"it holds {held}"
        case dict():
            for name, inner in value.items():
                here = f"{path}.{shown(name)}" if path else shown(name)
                if held := unstorable(name):
                    yield here, f"the field's name holds {held}"
                yield from _flaws(inner, here)
        case list():
            for index, inner in enumerate(value):
                yield from _flaws(inner, f"{path}[{index}]")


def unstorable(text: str) -> str | None:
    """What a text holds that no journal can keep (databases refuse it), None if nothing."""
    found = _UNSTORABLE.search(text)
    if found is None:
        return None
    return "the character \\u0000" if found[0] == "\x00" else f"half of a character (\\u{ord(found[0]):04x})"


def _without_marks(value: Any) -> Any:
    match value:
        case dict():
            return {name: _without_marks(inner) for name, inner in value.items()}
        case list():
            return [_without_marks(inner) for inner in value]
        case Marked():
            return None
        case _:
            return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise Flaw
    return table


def _unique_marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in pairs:
        table[name] = Marked("it stands twice in the same object") if name in table else value
    return table


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS + digits.startswith("-"):
        raise Flaw
    return int(digits)


def _whole_marked(digits: str) -> int | Marked:
    if len(digits) > MOST_DIGITS + digits.startswith("-"):
        return Marked(f"a whole number has at most {MOST_DIGITS} digits")
    return int(digits)


def _broken(digits: str) -> float:
    number = float(digits)
    if abs(number) == INFINITE:
        raise Flaw
    return number


def _broken_marked(digits: str) -> float | Marked:
    number = float(digits)
    return Marked("the number is too large") if abs(number) == INFINITE else number


def _no_number(_word: str) -> NoReturn:
    raise Flaw


def _no_number_marked(word: str) -> Marked:
    return Marked(f"{word} is not a number")


_STRICT = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_whole, parse_float=_broken, parse_constant=_no_number
)
_LENIENT = json.JSONDecoder(
    object_pairs_hook=_unique_marked,
    parse_int=_whole_marked,
    parse_float=_broken_marked,
    parse_constant=_no_number_marked,
)
