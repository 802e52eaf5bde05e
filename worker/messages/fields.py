"""The kinds of field that commands are made of: what is accepted, how a mistake is told, how a schema says it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SecretStr, StringConstraints
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

# Characters that XML cannot carry or a log should not: they are refused in every text.
PRINTABLE = r"^[^\u0000-\u001f\u007f-\u009f\ufffe\uffff]*$"
MASKED = core_schema.to_string_ser_schema()  # a secret serializes as it prints: not at all
INT = 2**31 - 1  # xs:int
_MONEY = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
_PLAIN_DIGITS = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


def wrong(sentence: str) -> PydanticCustomError:
    """A mistake in a field, as a sentence that says what would be right and quotes nothing."""
    return PydanticCustomError("wrong", "{sentence}", {"sentence": sentence})


def lacking(sentence: str) -> PydanticCustomError:
    """One of several fields is needed, and none came."""
    return PydanticCustomError("lacking", "{sentence}", {"sentence": sentence})


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number, or its digits in quotes."""

    least: int = 0
    most: int = INT

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        number = {"type": "integer", "minimum": self.least, "maximum": self.most}
        return {"anyOf": [number, {"type": "string", "pattern": "^[0-9]{1,18}$"}]}

    def read(self, value: Any) -> int:
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong("it has to be a whole number, or its digits in quotes")
        if not self.least <= value <= self.most:
            raise wrong(f"it has to be from {self.least} to {self.most}")
        return value


@dataclass(frozen=True, slots=True)
class Digits:
    """Digits that the platform keeps as a number (xs:long), so that leading zeros would be lost."""

    def __get_pydantic_core_schema__(self, source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        if source is SecretStr:
            return core_schema.no_info_plain_validator_function(secret_digits, serialization=MASKED)
        return core_schema.no_info_plain_validator_function(digits)

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        number = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
        return {"anyOf": [number, {"type": "string", "pattern": "^(0|[1-9][0-9]{0,17})$"}]}


def digits(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _DIGITS.fullmatch(text):
        raise wrong("it has to be digits, at most 18")
    if not _PLAIN_DIGITS.fullmatch(text):
        raise wrong("it has to be digits without leading zeros: the platform keeps a number and loses them")
    return text


def secret_digits(value: Any) -> SecretStr:
    return SecretStr(digits(value))


@dataclass(frozen=True, slots=True)
class Money:
    """A decimal above 0 in quotes, in the platform's currency unit. JSON numbers lose digits: refused."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(money)

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        pattern = r"^(?=.*[1-9])[0-9]{1,12}(\.[0-9]{1,6})?$"
        return {"type": "string", "pattern": pattern, "examples": ["10.00"]}


def money(value: Any) -> Decimal:
    if not isinstance(value, str):
        raise wrong('it has to be a decimal in quotes, e.g. "10.00": a JSON number may lose digits')
    if not _MONEY.fullmatch(value):
        raise wrong('it has to be a decimal above 0 with a point, e.g. "10.00", without sign or exponent')
    amount = Decimal(value)
    if not amount:
        raise wrong('it has to be above 0, e.g. "10.00"')
    return amount


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment, with its zone: without one nobody could say which hour is meant."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(instant)

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        zone = r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
        pattern = (
            rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[Tt ][0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(\.[0-9]{{1,6}})?{zone}$"
        )
        return {"type": "string", "pattern": pattern, "examples": ["2026-05-01T00:00:00-03:00"]}


_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


def instant(value: Any) -> datetime:
    """Raises a mistake that says what would be right."""
    text = value.upper() if isinstance(value, str) else ""
    try:
        if _INSTANT.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise wrong("it has to be a time with its zone (RFC 3339), e.g. 2026-05-01T00:00:00-03:00")


@dataclass(frozen=True, slots=True)
class SecretText:
    """A text that cannot print."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(min_length=1, max_length=255, pattern=PRINTABLE, strict=True)
        return core_schema.no_info_after_validator_function(SecretStr, text, serialization=MASKED)

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": 255, "pattern": PRINTABLE, "writeOnly": True}


Text = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=PRINTABLE)]
Secret = Annotated[SecretStr, SecretText()]
Note = Annotated[str, StringConstraints(min_length=1, max_length=180, pattern=PRINTABLE)]
PlatformName = Annotated[str, StringConstraints(pattern="^[a-z0-9-]{1,40}$")]
Username = Annotated[
    str, StringConstraints(pattern=r"^[^\s@:<>\u0000-\u001f\u007f-\u009f\ufffe\uffff]{1,64}$")
]
Domain = Annotated[
    str, StringConstraints(max_length=253, pattern="^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
]
Email = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^[^\s@\u0000-\u001f]+@[^\s@\u0000-\u001f]+$")
]
Address = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\s\u0000-\u001f\u007f-\u009f]+$")]


@dataclass(frozen=True, slots=True)
class Double:
    """A decimal number, in quotes or bare; a bare one may lose digits on its way. At most 15 of them count."""

    quoted: bool = False  # only in quotes: money

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        text = {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,6})?$", "examples": ["10.00"]}
        if self.quoted:
            return text
        return {"anyOf": [{"type": "number", "minimum": -(10**12), "maximum": 10**12}, text]}

    def read(self, value: Any) -> Decimal:
        if isinstance(value, str) and _SIGNED.fullmatch(value):
            number = Decimal(value)
        elif self.quoted:
            raise wrong('it has to be a decimal in quotes, e.g. "10.00": a JSON number may lose digits')
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 10**12:
            number = Decimal(repr(value))
        else:
            raise wrong('it has to be a decimal number, e.g. 12.5 or "12.50"')
        if len(number.normalize().as_tuple().digits) > 15:
            raise wrong("it has more than the 15 digits that the platform can keep")
        return number


_SIGNED = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)
LongText = Annotated[str, StringConstraints(max_length=4096, pattern=PRINTABLE)]  # "" is a value: it clears
