"""The settings of a RingMe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from worker.settings.platforms import PlatformSettings
from worker.settings.section import Section
from worker.settings.values import Seconds, Secret

RuleId = Annotated[int, Field(ge=1)]


def path(value: str) -> str:
    if not re.fullmatch(r"(/[\w.{}@-]+)*/?", value, re.ASCII) or not value.startswith("/"):
        raise ValueError("a path begins with / and has no query, e.g. /api/ver1.0")
    return value


def zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is no time zone that this machine knows, e.g. Europe/Moscow") from None
    return value


Path = Annotated[str, AfterValidator(path)]


class RingmeAssume(Section):
    """What nobody could tell us of RingMe, with what is safe as the default."""

    put: Literal["replaces", "changes"] = Field(
        default="replaces",
        description="what becomes of a field that a PUT leaves out. `replaces`: the record is read before and "
        "all that it shows is sent back; `changes`: only what was ordered is sent. Wrongly `changes`: what was "
        "left out is cleared",
    )
    history_zone: Annotated[str, AfterValidator(zone)] = Field(
        default="UTC",
        description="time zone of `start_datetime` and `end_datetime` of the call history. Another than the "
        "platform's: `call_records.list` gives the calls of hours beside those that were asked for",
    )


class RingmeSettings(PlatformSettings):
    kind: Literal["ringme"] = Field(description="what it is")
    app_id: str = Field(min_length=1, description="App ID of an application registered at RingMe")
    app_secret: Secret = Field(description="its App Secret")
    grant: Literal["client_credentials", "password"] = Field(
        default="client_credentials",
        description="how tokens are asked for: an application of type `trusted`, or `password_credentials`",
    )
    username: str = Field(default="", description='whose password it is (`grant = "password"`)')
    password: Secret | None = Field(default=None, description="that password")
    api_path: Path = Field(default="/api/ver1.0", description="where the client API is below `url`")
    token_path: Path = Field(default="/oauth/token", description="where tokens are given, below `url`")
    token_life: Seconds = Field(
        default=3600.0, gt=0, description="how long a token lives whose answer does not say it"
    )
    undocumented: bool = Field(
        default=False,
        description="call also what only programs of customers of another provider on the same platform show",
    )
    record_path: Literal["client", "client_info"] = Field(
        default="client",
        description="which of the two documented addresses of a client's record portable commands use",
    )
    extension_name: Annotated[str, Field(pattern=r"^[^{}]*\{number\}[^{}]*$")] = Field(
        default="{number}",
        description="what a new internal number is called when it is made; the list shows `prefix*number`",
    )
    block_rule_id: RuleId | None = Field(
        default=None,
        description="`dial_rule_id` of the list of rules that lets no call out: `calls.block` puts it in place",
    )
    unblocked_rule_id: RuleId | None = Field(
        default=None,
        description="what `calls.unblock` puts in place where there was no list before; none: such a client is "
        "not blocked at all, for nothing says how a list is taken away",
    )
    limit_reserve: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="share of the hourly calls that is kept for control reads",
    )
    limit_slow: float = Field(
        default=0.2, ge=0, le=1, description="share of the hourly calls from which on the rest is spread out"
    )
    history_page: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=100, description="`per_page` of the call history"
    )
    paths: Mapping[str, Path] = Field(
        default={},
        description="other paths of operations than the OpenAPI file has, e.g. "
        '`"dial_rule.list" = "/client/{client_id}/dial_rules/"`',
    )
    assume: RingmeAssume = Field(
        default=RingmeAssume(), description="what the platform leaves open, where the default is not right"
    )

    @property
    def account(self) -> str:
        return self.username if self.grant == "password" else self.app_id

    @property
    def limited(self) -> Sequence[str]:
        return ("removes_per_hour",)

    def advice(self) -> list[tuple[str, str]]:
        if self.block_rule_id is not None:
            return []
        return [("calls.block is rejected: no list of rules is named that lets no call out", "block_rule_id")]

    @model_validator(mode="after")
    def _password_has_a_user(self) -> Self:
        if self.grant == "password" and (not self.username or self.password is None):
            raise ValueError('grant = "password" needs username and password')
        return self
