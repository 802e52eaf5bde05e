"""Sign-in to the console by an OpenID Connect provider."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from worker.settings.section import Section
from worker.settings.values import File, Seconds, Secret


def private_address(value: str) -> bool:
    """Whether what is sent there cannot be read on the way: https, or this machine itself."""
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or port == 0 or parts.username or parts.password or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _loopback(host))


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _whole_address(value: str) -> str:
    if value and (not private_address(value) or urlsplit(value).query):
        raise ValueError(
            "the issuer is an address that begins with https:// (http:// only on this machine itself), without"
            " password and query, exactly as the provider writes it"
        )
    return value


class OidcSettings(Section):
    issuer: Annotated[str, AfterValidator(_whole_address)] = Field(
        default="",
        max_length=300,
        description="the provider, exactly as it names itself, such as `https://login.example/realms/main`; none:"
        " no sign-in by a provider. Needs `console.address`",
    )
    client_id: str = Field(default="", max_length=200, description="as which the provider knows the console")
    client_secret: Secret | None = Field(
        default=None, description="its secret; none: a public client, which PKCE alone protects"
    )
    scopes: tuple[str, ...] = Field(
        default=("openid", "profile"), description="what is asked for; `openid` is among them"
    )
    name_claim: str = Field(
        default="preferred_username",
        min_length=1,
        max_length=100,
        description="claim that a person's name here is made of, at the first sign-in; who somebody is, is always"
        " issuer and `sub`",
    )
    roles_claim: str = Field(
        default="groups",
        min_length=1,
        max_length=100,
        description="claim whose values give the role; `a.b` looks into `a`",
    )
    roles: Mapping[str, Literal["viewer", "operator", "admin"]] = Field(
        default={},
        description='value of that claim and its role, e.g. `{ "noc" = "operator" }`; of several the highest counts',
    )
    default_role: Literal["refused", "viewer", "operator", "admin"] = Field(
        default="refused", description="for people with no value of `roles`"
    )
    button: str = Field(
        default="",
        max_length=60,
        description="what the button says; empty: “Sign in with” and the issuer's host",
    )
    ca: File | None = Field(
        default=None, description="file with the authorities that sign the provider's certificate"
    )
    timeout: Seconds = Field(default=5.0, gt=0, le=60, description="deadline of one request to the provider")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.issuer:
            return self
        if not self.client_id:
            raise ValueError("client_id is missing: as which client does the provider know the console?")
        if "openid" not in self.scopes:
            raise ValueError("scopes has to hold openid: without it there is no sign-in")
        if not self.roles and self.default_role == "refused":
            raise ValueError(
                "roles is empty, so nobody could sign in: say which value of roles_claim has which role"
            )
        return self
