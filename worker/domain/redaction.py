"""Masking secrets in texts that people or programs will see: envelopes, fault texts, messages.

Two nets, one over the other: values that are known (however they were encoded on the way) and fields
whose name says that a secret stands in them.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

MASK = "***"

# In any case and with or without underscores or hyphens: passwordPortal, portal_password, pin-code.
SECRET_NAMES = (
    "password",
    "passwordportal",
    "portalpassword",
    "voicemailpassword",
    "actualpassword",
    "currentpassword",
    "newpassword",
    "confirmnewpassword",
    "oldpassword",
    "passwd",
    "senha",
    "secret",
    "clientsecret",
    "token",
    "accesstoken",
    "refreshtoken",
    "apikey",
    "authorization",
    "pin",
    "pincode",
)

# A shorter value is masked only where it stands alone: "12" must not eat the years out of every date.
SHORT = 4


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    return re.sub(r"[_-]", "", name).lower() in SECRET_NAMES


def secrets_in(data: Any) -> Iterator[str]:
    """The texts that stand under a secret's name anywhere in JSON-like data."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            if is_secret_name(str(name)) and isinstance(value, (str, int)) and not isinstance(value, bool):
                yield str(value)
            else:
                yield from secrets_in(value)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from secrets_in(value)


def without_secrets(data: Any) -> Any:
    """A copy of JSON-like data with *** in every field whose name says that it is secret."""
    if isinstance(data, Mapping):
        return {
            name: MASK if is_secret_name(str(name)) and value is not None else without_secrets(value)
            for name, value in data.items()
        }
    if isinstance(data, (list, tuple)):
        return [without_secrets(value) for value in data]
    return data


def forms(secret: str) -> set[str]:
    """The secret as it may stand in a text: plain, in XML, URL, JSON and base64 dress."""
    xml = escape(secret)
    quoted = {
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        # Browsers and some servers leave these signs alone.
        quote(secret, safe="!$&'()*+,;=:@/?"),
    }
    found = {
        secret,
        xml,
        escape(secret, {'"': "&quot;", "'": "&apos;"}),
        escape(secret, {'"': "&quot;"}),
        escape(secret, {'"': "&#34;", "'": "&#39;"}),
        escape(secret, {"'": "&#39;", '"': "&quot;"}),
        escape(xml),
        "".join(f"&#{ord(sign)};" for sign in secret),
        "".join(f"&#x{ord(sign):x};" for sign in secret),
        secret.encode("ascii", "xmlcharrefreplace").decode(),
        xml.encode("ascii", "xmlcharrefreplace").decode(),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        repr(secret)[1:-1],
        *quoted,
        *(re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text) for text in quoted),
        *(quote(text, safe="") for text in quoted),
        *base64_forms(secret),
    }
    return {text for text in found if text}


def base64_forms(secret: str) -> set[str]:
    """What is left of the secret inside any base64 text that holds it, whatever stands around it.

    Three bytes become four signs, so there are three ways to begin; the signs at both ends are shared
    with the neighbours and left out, those of the bare secret are kept.
    """
    found = set()
    for raw in {secret.encode(), secret.encode("utf-16-le")}:
        whole = base64.b64encode(raw).decode()
        inside = [whole.rstrip("=")] if len(raw) > 2 else []
        for lead in range(3):
            signs = base64.b64encode(b"\0" * lead + raw).decode().rstrip("=")
            start = (0, 2, 3)[lead]
            shared = 1 if (lead + len(raw)) % 3 else 0
            inside.append(signs[start : len(signs) - shared])
        found |= {text for text in inside if len(text) >= SHORT}
    return found | {text.replace("+", "-").replace("/", "_") for text in found}


def _named() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    loose = "|".join("[_-]?".join(name) for name in SECRET_NAMES)
    element = re.compile(
        rf"(<(?:[\w.-]+:)?(?:{loose})(?:\s[^<>]*)?(?<!/)>)(?:<!\[CDATA\[.*?(?:\]\]>|\Z)|[^<])+",
        re.IGNORECASE | re.DOTALL,
    )
    escaped = re.compile(
        rf"(&lt;(?:[\w.-]+:)?(?:{loose})(?:\s(?:(?!&gt;).)*)?(?<!/)&gt;)(?:(?!&lt;).)+",
        re.IGNORECASE | re.DOTALL,
    )
    member = re.compile(
        rf'((?:"|\\")(?:{loose})(?:"|\\")\s*:\s*)(?:"(?:\\.|[^"\\])*"?|\\"(?:(?!\\").)*(?:\\")?|[^\s",}}\]]+)',
        re.IGNORECASE | re.DOTALL,
    )
    return element, escaped, member


_ELEMENT, _ESCAPED, _MEMBER = _named()
# One cheap look decides whether the three patterns above can find anything at all.
_HINT = re.compile("pass|senha|secret|token|api[_-]?key|authorization|pin", re.IGNORECASE)


def mask_fields(text: str) -> str:
    """*** for the content of XML elements and JSON members whose name says that it is secret."""
    if not _HINT.search(text):
        return text
    text = _ELEMENT.sub(rf"\1{MASK}", text)
    if "&lt;" in text:
        text = _ESCAPED.sub(rf"\1{MASK}", text)
    return _MEMBER.sub(rf'\1"{MASK}"', text) if '"' in text else text


class Masker:
    """Masks a given set of secrets, and fields by their names. Its repr shows nothing."""

    __slots__ = ("_pattern", "longest")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        values = {text for secret in secrets if secret for text in _shapes(secret)}
        # The longest first, or a form that begins another would leave the other's tail behind.
        ordered = sorted(values, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_literal, ordered))) if ordered else None
        self.longest = len(ordered[0]) if ordered else 0  # characters; how far a secret can reach

    def __call__(self, text: str) -> str:
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        return mask_fields(text)

    def cut(self, raw: bytes, limit: int) -> str:
        """Masked, then cut to `limit` bytes of UTF-8: the other way round half a secret could stay.

        Of a long text only a beginning is looked at, whose own end may hold half a secret and is dropped.
        """
        begun = raw[: limit * 8]
        masked = self(begun.decode("utf-8", "replace"))
        if len(begun) < len(raw):
            masked = masked[: max(0, len(masked) - self.longest)]
        return shortened(masked, limit)


def shortened(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, with … where something was left out."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return text
    return raw[: max(0, limit - 3)].decode("utf-8", "ignore") + "…"


def _shapes(secret: str) -> set[str]:
    return forms(secret) | forms(secret.strip()) if secret.strip() else set()


def _literal(text: str) -> str:
    if len(text) >= SHORT:
        return re.escape(text)
    return rf"(?<!\w){re.escape(text)}(?!\w)"
