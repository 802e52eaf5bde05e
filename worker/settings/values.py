"""The types of settings: durations, secrets, addresses. Their errors never quote what was written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, ValidationInfo

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
HOUR, DAY = UNITS["h"], UNITS["d"]


def seconds(value: object) -> object:
    """A duration such as "90d", "24h", "15m", "30s", "200ms" or a number of seconds, in seconds."""
    if isinstance(value, bool):
        raise ValueError("a duration is a number of seconds or a text like 90d, 24h, 15m, 30s")
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|[smhdw]?)\s*", value)
    if not found:
        raise ValueError("a duration is a number of seconds or a text like 90d, 24h, 15m, 30s")
    return float(found[1]) * UNITS[found[2] or "s"]


def duration(value: float) -> str:
    """Seconds as the settings write them: the inverse of `seconds`, for people."""
    for unit in ("d", "h", "m"):
        if value and value % UNITS[unit] == 0:
            return f"{value / UNITS[unit]:.0f}{unit}"
    return f"{value:g}s"


def resolved(value: object, info: ValidationInfo) -> object:
    """A secret as text: written out, or taken from `{ env = "NAME" }` or `{ file = "PATH" }`."""
    if not isinstance(value, Mapping):
        return value
    context = info.context or {}
    match dict(value):
        case {"env": str(name), **rest} if not rest:
            text = context.get("environ", {}).get(name, "")
            missing = f"the environment variable {name} is not set"
        case {"file": str(name), **rest} if not rest:
            text = _file(context.get("folder", Path()) / name)
            missing = f"the file {name} is empty"
        case _:
            raise ValueError('a secret is a text, { env = "NAME" } or { file = "PATH" }')
    if not text:
        raise ValueError(missing)
    return text


def _file(path: Path) -> str:
    try:
        return path.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not a text"
        raise ValueError(f"the file {path} cannot be read: {why}") from None


def scheme(*allowed: str) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        if urlsplit(value.get_secret_value()).scheme not in allowed:
            raise ValueError("the address has to begin with " + " or ".join(f"{one}://" for one in allowed))
        return value

    return AfterValidator(check)


def http(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the address has to begin with http:// or https:// and name a host")
    if parts.username or parts.password:
        raise ValueError("the address holds a password: put it into login and password")
    return value.rstrip("/")


PARAMETERS = ("command", "obs", "account", "username", "domain", "amount")  # of a SELECT as credit_evidence
QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`[^`]*`")


def select(value: str) -> str:
    """`auto`, `strict`, or one SELECT that names the command: without that it shows other people's entries too."""
    if value in ("auto", "strict"):
        return value
    plain = QUOTED.sub("''", value)
    if not plain.lstrip().lower().startswith("select"):
        raise ValueError('it is "auto", "strict" or a SELECT')
    if ";" in plain or "--" in plain or "#" in plain or "/*" in plain:
        raise ValueError("it is one SELECT, without semicolon and comments")
    named = set(re.findall(r"(?<![:\w]):([A-Za-z_]\w*)", plain))
    if unknown := sorted(named - set(PARAMETERS)):
        known = ", ".join(f":{name}" for name in PARAMETERS)
        raise ValueError(f":{unknown[0]} is no parameter: we know {known}")
    if not named & {"command", "obs"}:
        raise ValueError(
            "it has to name the command, by :command (its id, which addCredit.obs begins with) or :obs"
        )
    return value


def database(value: SecretStr) -> SecretStr:
    """A MySQL or MariaDB address that names a database."""
    try:
        parts = urlsplit(value.get_secret_value())
        whole = bool(parts.hostname and parts.username and len(parts.path) > 1) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or parts.scheme not in ("mysql", "mariadb"):
        raise ValueError("the address has to be mysql://user:password@host:3306/name")
    if parts.query or parts.fragment:
        raise ValueError("the address takes no options after the database's name: they are keys of their own")
    return value


def zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("it is no time zone: write one of the IANA list, e.g. America/Sao_Paulo") from None
    return value


def patterns(value: Mapping[str, str]) -> Mapping[str, str]:
    for pattern in value:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"the pattern {pattern!r} is no regular expression: {error}") from None
    return value


def beside(value: Path, info: ValidationInfo) -> Path:
    """A relative file name starts at the folder of the settings file."""
    folder: Path = (info.context or {}).get("folder", Path())
    return folder / value


Seconds = Annotated[float, BeforeValidator(seconds), Field(ge=0, allow_inf_nan=False)]
Secret = Annotated[SecretStr, BeforeValidator(resolved)]
File = Annotated[Path, AfterValidator(beside)]
Url = Annotated[str, AfterValidator(http)]
Count = Annotated[int, Field(ge=1)]
Money = Annotated[Decimal, Field(gt=0, max_digits=15, allow_inf_nan=False)]
PlatformName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")]


def without_password(url: SecretStr) -> str:
    """The address as it may be shown: password and query left out."""
    parts = urlsplit(url.get_secret_value())
    user, _, host = parts.netloc.rpartition("@")
    name = user.split(":")[0]
    return f"{parts.scheme}://{name + '@' if name else ''}{host}{parts.path}"
