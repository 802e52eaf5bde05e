"""How an operation's effect shows in a read: the last column of the catalogue, as data.

`by` names the read's arguments. They are looked for in the object that is sent, then among the parameters, then
in `look_in`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Nothing:
    """No read shows it, or there is nothing to show."""

    why: str = ""

    def __str__(self) -> str:
        return f"- ({self.why})" if self.why else "-"


@dataclass(frozen=True, slots=True)
class Param:
    """The value of a parameter."""

    name: str


@dataclass(frozen=True, slots=True)
class Shows:
    """The subscriber's record has these values."""

    fields: Mapping[str, bool | Param]
    read: str = "SubscriberWS.retrieveSubscriber"

    def __str__(self) -> str:
        parts = (f"{name} = {_said(value)}" for name, value in self.fields.items())
        return f"{_short(self.read)}: {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class ShowsProfile:
    """The record names the profile that has the number sent."""

    read: str = "SubscriberWS.retrieveSubscriber"
    names: str = "ProfileWS.listProfilesByDomain"

    def __str__(self) -> str:
        return f"{_short(self.read)}: profile is the one that {_short(self.names)} numbers newProfileId"


@dataclass(frozen=True, slots=True)
class AsSent:
    """What is read has every field that was sent. `id`: which one of a list it is."""

    read: str
    by: tuple[str, ...]
    id: str = ""

    def __str__(self) -> str:
        which = f", the one with that {self.id}" if self.id else ""
        return f"{_short(self.read)}{which}: every field that was sent"


@dataclass(frozen=True, slots=True)
class There:
    """The list has an entry that agrees in `same` with what was sent; all of them, where many were sent."""

    read: str
    by: tuple[str, ...]
    same: tuple[str, ...]

    def __str__(self) -> str:
        return f"{_short(self.read)}({', '.join(self.by)}): an entry with that {' + '.join(self.same)}"


@dataclass(frozen=True, slots=True)
class Gone:
    """The list has no entry whose fields have these parameters' values; without fields: it is empty."""

    read: str
    by: tuple[str, ...]
    same: Mapping[str, str]

    def __str__(self) -> str:
        what = f"no entry with that {' + '.join(self.same)}" if self.same else "empty"
        return f"{_short(self.read)}({', '.join(self.by)}): {what}"


@dataclass(frozen=True, slots=True)
class NoSubscriber:
    """The record is absent."""

    read: str = "SubscriberWS.retrieveSubscriber"

    def __str__(self) -> str:
        return f"{_short(self.read)}: absent"


@dataclass(frozen=True, slots=True)
class Inserted:
    """The record is there and agrees in the fields that were sent."""

    read: str = "SubscriberWS.retrieveSubscriber"

    def __str__(self) -> str:
        return f"{_short(self.read)}: there, with the fields that were sent"


@dataclass(frozen=True, slots=True)
class Grouped:
    """The account group lists every account that was sent; or, `gone`, none of them."""

    gone: bool = False
    read: str = "AccountGroupWS.retrieveAccountGroup"

    def __str__(self) -> str:
        return f"{_short(self.read)}: {'none' if self.gone else 'every one'} of the accounts is listed"


@dataclass(frozen=True, slots=True)
class Booked:
    """The balance moved by the amount. `calls`: what calls took meanwhile is taken into account."""

    read: str
    calls: bool = True

    def __str__(self) -> str:
        rest = ", less the price of calls" if self.calls else "; calls meanwhile leave it to a person"
        return f"{_short(self.read)} before and after{rest}"


@dataclass(frozen=True, slots=True)
class ReadsBack:
    """The read gives the new secret."""

    read: str

    def __str__(self) -> str:
        return f"{_short(self.read)} = newPassword"


@dataclass(frozen=True, slots=True)
class SignsIn:
    """The new secret is accepted."""

    read: str = "CustomerWS.authenticate"

    def __str__(self) -> str:
        return f"{_short(self.read)} with newPassword succeeds"


Check = (
    Nothing
    | Shows
    | ShowsProfile
    | AsSent
    | There
    | Gone
    | NoSubscriber
    | Inserted
    | Grouped
    | Booked
    | ReadsBack
    | SignsIn
)


def _short(endpoint: str) -> str:
    return endpoint.partition(".")[2]


def _said(value: bool | Param) -> str:
    return f"the {value.name} sent" if isinstance(value, Param) else str(value).lower()
