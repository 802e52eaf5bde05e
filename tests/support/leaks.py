"""Is a secret somewhere in what a program left behind? In clear, or in any dress that it might wear.

    found = leaks({"password": "…"}, {"log": raw, "journal": raw})       # [] is what one hopes for

It shares no code with the worker's own masking, so that neither can hide the other's mistakes.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote_to_bytes

ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "latin-1")
MOST_LAYERS = 4  # a JSON text in a JSON text in an XML text, and one more


def leaks(secrets: Mapping[str, str], places: Mapping[str, bytes]) -> list[str]:
    """One line for each secret that stands in a place, with the dress that it wore and what is around it."""
    wanted: dict[bytes, str] = {}  # many dresses are the same for a plain secret
    for name, secret in secrets.items():
        for dress, form in dresses(secret):
            wanted.setdefault(form, f"{name}, {dress},")
    return [
        f"{named} stands in {place}, {layer}: {_around(text, form)!r}"
        for place, raw in places.items()
        for layer, text in layers(raw)
        for form, named in wanted.items()
        if form in text
    ]


def _around(text: bytes, form: bytes) -> bytes:
    at = text.index(form)
    return text[max(0, at - 60) : at + len(form) + 20]


def dresses(secret: str) -> Iterator[tuple[str, bytes]]:
    """Everything that a secret may be written as."""
    for encoding in ENCODINGS:
        raw = secret.encode(encoding, "replace")
        yield f"in {encoding}", raw
        for lead in range(3):
            yield from coded(raw, lead, encoding)
        yield f"in hex of {encoding}", raw.hex().encode()
        yield f"in HEX of {encoding}", raw.hex().upper().encode()
    written = {
        "URL": quote(secret, safe=""),
        "URL form": quote_plus(secret),
        "URL, every sign": "".join(f"%{byte:02X}" for byte in secret.encode()),
        "XML": html.escape(secret),
        "XML, numbers": "".join(f"&#{ord(sign)};" for sign in secret),
        "XML, hex": "".join(f"&#x{ord(sign):x};" for sign in secret),
        "JSON": json.dumps(secret)[1:-1],
        "JSON, every sign": "".join(f"\\u{ord(sign):04x}" for sign in secret),
        "Python": repr(secret)[1:-1],
        "backwards": secret[::-1],
    }
    for name, text in written.items():
        yield f"as {name}", text.encode()


def coded(raw: bytes, lead: int, encoding: str) -> Iterator[tuple[str, bytes]]:
    """In base64 behind 0, 1 or 2 other bytes, without the signs that the neighbours share."""
    start, end = (0, 2, 3)[lead], (lead + len(raw)) // 3 * 4
    inside = base64.b64encode(b"\0" * lead + raw)[start:end]
    if len(inside) >= 8:
        yield f"in base64 of {encoding} at {lead}", inside
        yield f"in URL-safe base64 of {encoding} at {lead}", inside.translate(bytes.maketrans(b"+/", b"-_"))


def layers(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """The text, and what is left when XML, URL and JSON dress is taken off, in any order.

    What is encrypted wears no dress: it is searched as it is, and left out afterwards.
    """
    yield "as it is", raw
    seen: set[bytes] = set()
    waiting: list[tuple[str, bytes]] = [("without ciphers", _CIPHER.sub(b" ", raw))]
    while waiting:
        name, text = waiting.pop()
        if text in seen:
            continue
        seen.add(text)
        yield name, text
        if name.count("<") < MOST_LAYERS:
            waiting += [(f"{name} < {dress}", undress(text)) for dress, undress in UNDRESS.items()]


_CIPHER = re.compile(rb"gAAAAA[\w=-]{60,}|[^\t\n\r\x20-\x7e\x80-\xff]{2,}")


def _xml(raw: bytes) -> bytes:
    return html.unescape(raw.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogatepass")


_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([\"\\/'nrt]))")


def _json(raw: bytes) -> bytes:
    def bare(found: re.Match[bytes]) -> bytes:
        code = found[1] or found[2]
        return chr(int(code, 16)).encode("utf-8", "surrogatepass") if code else found[3]

    return _ESCAPE.sub(bare, raw)


UNDRESS = {"XML": _xml, "URL": unquote_to_bytes, "JSON": _json}
