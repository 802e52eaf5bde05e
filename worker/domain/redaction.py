"""Masking secrets in texts that people or programs will see: envelopes, fault texts, messages.

Two nets, one over the other: values that are known (however they were encoded on the way) and fields
whose name says that a secret stands in them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

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
    "appsecret",
    "apisecret",
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
        # No `&lt;` between the name and its end: else each name would search to the end of the text.
        rf"(&lt;(?:[\w.-]+:)?(?:{loose})(?:\s(?:(?!&[lg]t;).)*)?(?<!/)&gt;)(?:(?!&lt;).)+",
        re.IGNORECASE | re.DOTALL,
    )
    member = re.compile(
        rf'((?:"|\\")(?:{loose})(?:"|\\")\s*:\s*)(?:"(?:\\.|[^"\\])*"?|\\"(?:(?!\\").)*(?:\\")?|[^\s",}}\]]+)',
        re.IGNORECASE | re.DOTALL,
    )
    return element, escaped, member


_ELEMENT, _ESCAPED, _MEMBER = _named()
_NAMED = re.compile(r'"\s*:')  # what every member of JSON has, and hardly any XML


def _starred(found: re.Match[str]) -> str:
    return found[1] + MASK


def _starred_text(found: re.Match[str]) -> str:
    return f'{found[1]}"{MASK}"'


def mask_fields(text: str) -> str:
    """*** for the content of XML elements and JSON members whose name says that it is secret."""
    if "<" in text:
        text = _ELEMENT.sub(_starred, text)
    if "&lt;" in text:
        text = _ESCAPED.sub(_starred, text)
    return _MEMBER.sub(_starred_text, text) if _NAMED.search(text) else text


class Masker:
    """Masks a given set of secrets, and fields by their names. Its repr shows nothing."""

    __slots__ = ("_secrets", "longest")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        plain = {text for secret in secrets for text in (secret, secret.strip()) if text.strip()}
        coded = {form for secret in plain for form in base64_forms(secret)}
        self._secrets = tuple(plain | coded)
        # How far a secret can reach, in characters; the widest dress is one such as &amp;#x0027; for each.
        self.longest = 16 * max(map(len, plain), default=0)

    def __call__(self, text: str) -> str:
        spans = sorted(span for layer in layers(text) for span in layer.spans(self._secrets))
        return mask_fields(_without(text, spans) if spans else text)

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


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text with *** for the sorted spans, one for those that touch or overlap."""
    parts, end = [], -1
    for start, stop in spans:
        if start > end:
            parts += [text[max(end, 0) : start], MASK]
        end = max(end, stop)
    return "".join([*parts, text[max(end, 0) :]])


# Undressing -------------------------------------------------------------------------------------------

_XML = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|amp|lt|gt|quot|apos);")
_URL = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_FORM = re.compile(r"(?:%[0-9a-fA-F]{2})+|\+")
_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|(?:\\x[0-9a-fA-F]{2})+|\\[\"'\\/nrt]")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_LETTERS = {"n": "\n", "r": "\r", "t": "\t"}
DRESSES = (("&", _XML), ("%", _URL), ("%+", _FORM), ("\\", _ESCAPES))
MOST_LAYERS = 24  # a dress over a dress over a dress; nobody wears more by accident


@dataclass(frozen=True, slots=True)
class Layer:
    """A text with some of its dress taken off. `at`: where each character began in the original, and its
    end; None: it is the original."""

    text: str
    at: Sequence[int] | None = None

    def spans(self, secrets: Iterable[str]) -> Iterator[tuple[int, int]]:
        """Where the secrets stand, as places in the original."""
        for secret in secrets:
            start = self.text.find(secret)
            while start >= 0:
                stop = start + len(secret)
                if len(secret) >= SHORT or self._alone(start, stop):
                    yield (start, stop) if self.at is None else (self.at[start], self.at[stop])
                start = self.text.find(secret, start + 1)

    def _alone(self, start: int, stop: int) -> bool:
        around = self.text[max(0, start - 1) : start] + self.text[stop : stop + 1]
        return not any(sign.isalnum() or sign == "_" for sign in around)

    def undressed(self, dress: re.Pattern[str]) -> Layer | None:
        """One layer of this dress taken off, everywhere; None where there was none."""
        parts: list[str] = []
        at: list[int] = []
        end = 0
        for found in dress.finditer(self.text):
            bare = _bare(found[0])
            parts += [self.text[end : found.start()], bare]
            at += self._places(end, found.start())
            at += self._shared(found.start(), found.end(), len(bare))
            end = found.end()
        if not parts:
            return None
        at += [*self._places(end, len(self.text)), self._place(len(self.text))]
        return Layer("".join([*parts, self.text[end:]]), at)

    def _place(self, index: int) -> int:
        return index if self.at is None else self.at[index]

    def _places(self, start: int, stop: int) -> Sequence[int]:
        return range(start, stop) if self.at is None else self.at[start:stop]

    def _shared(self, start: int, stop: int, size: int) -> list[int]:
        """Places of `size` characters made of one run: each at its part of it."""
        return [self._place(start + (stop - start) * index // size) for index in range(size)]


def _bare(run: str) -> str:
    match run[0]:
        case "&":
            name = run[1:-1]
            if not name.startswith("#"):
                return _ENTITIES[name]
            code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
            return chr(code) if code < 0x110000 else "\ufffd"
        case "+":
            return " "
        case "%":
            return bytes.fromhex(run.replace("%", "")).decode("utf-8", "replace")
        case _ if run[1] == "u":
            return bytes.fromhex(run.replace("\\u", "")).decode("utf-16-be", "replace")
        case _ if run[1] == "x":
            return bytes.fromhex(run.replace("\\x", "")).decode("latin-1")
        case _:
            return _LETTERS.get(run[1], run[1])


def layers(text: str) -> Iterator[Layer]:
    """The text, and the text with its XML, URL, form and JSON dress taken off in every order."""
    seen, waiting = {text}, [Layer(text)]
    while waiting:
        layer = waiting.pop(0)
        yield layer
        for signs, dress in DRESSES:
            if not any(sign in layer.text for sign in signs):
                continue  # nearly always
            bare = layer.undressed(dress)
            if bare is not None and bare.text not in seen and len(seen) < MOST_LAYERS:
                seen.add(bare.text)
                waiting.append(bare)
