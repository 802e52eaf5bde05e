"""Who a provider's claims speak of: a name for the pages, and the role."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.console.oidc.trouble import Trouble
from worker.journal.console.people import ROLES, Role
from worker.settings import OidcSettings

LONGEST = 50  # signs of a name; a number may be put behind it


@dataclass(frozen=True, slots=True)
class Guest:
    """`issuer` and `subject` are who it is; `name` is what the claim says, the name here may differ."""

    issuer: str
    subject: str
    name: str
    role: Role | None


def guest(claims: Mapping[str, Any], settings: OidcSettings) -> Guest:
    """Raises Trouble where no name can be made of the claim."""
    name = _name(looked_up(claims, settings.name_claim))
    if name is None:
        raise Trouble("name", f"the claim {settings.name_claim} holds no name of at least two signs")
    return Guest(settings.issuer, claims["sub"], name, _role(claims, settings))


def looked_up(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of that name; `a.b` is also `b` in `a`."""
    if path in claims:
        return claims[path]
    here: Any = claims
    for part in path.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def _name(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    text = unicodedata.normalize("NFKC", value[:200]).strip()
    name = "".join(sign if sign.isalnum() or sign in "._-@" else "-" for sign in text)[:LONGEST].strip("-")
    return name if len(name) > 1 else None


def _role(claims: Mapping[str, Any], settings: OidcSettings) -> Role | None:
    """The highest of those that the values give."""
    value = looked_up(claims, settings.roles_claim)
    values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    given = {settings.roles[one] for one in values if isinstance(one, str) and one in settings.roles}
    if settings.default_role != "refused":
        given.add(settings.default_role)
    return max(given, key=ROLES.index, default=None)
