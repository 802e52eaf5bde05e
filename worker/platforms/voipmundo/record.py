"""The record of a client: its 77 documented fields typed, the others kept as they came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from worker.domain.redaction import MASK, without_secrets
from worker.platforms.rest import plain
from worker.platforms.voipmundo.values import day, flag, instant, number, whole

Read = Callable[[Any], Any]


class ClientKind(IntEnum):
    RESELLER = 2
    SUBSCRIBER = 4


class Status(IntEnum):
    INACTIVE = 0
    ACTIVE = 1


class PaymentType(IntEnum):
    PREPAID = 0
    POSTPAID = 1
    BUNDLE = 2


class Secret:
    """A value that is there and is not shown."""

    def __repr__(self) -> str:
        return MASK


def one_of(choices: type[IntEnum]) -> Read:
    return lambda value: choices(whole(value))


def text(value: Any) -> str:
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise ValueError("no text")
    return str(value)


def secret(value: Any) -> Secret:
    return Secret()


def as_it_is(value: Any) -> Any:
    return value


def _all(read: Read, names: str) -> dict[str, Read]:
    return dict.fromkeys(names.split(), read)


_BUNDLES = [f"franquia_{kind}_{zone}" for kind in ("fixo", "movel") for zone in ("ddi", "ldn", "local")]
_STEPS = [f"{step}_{zone}" for step in ("inc", "ini", "tmp") for zone in ("c", "c_ddi", "f", "f_ddi")]

# Field -> how it is read. Types are inferred from the descriptions: the help page shows none.
CLIENT: Mapping[str, Read] = MappingProxyType(
    _all(whole, "error id id_hie id_origem id_vendedor id_vinculo")
    | {"reason": text, "tipo": one_of(ClientKind), "status": one_of(Status)}
    | _all(
        flag,
        "tem_callingcard tem_campanha_sms tem_campanha_voz tem_conferencia tem_did tem_escuta tem_fila "
        "tem_gravacao tem_grupo_captura tem_grupo_chamada tem_portal tem_provisionamento tem_ramal tem_report "
        "tem_sigame tem_sms tem_ura",
    )
)
FINANCE: Mapping[str, Read] = MappingProxyType(
    _all(flag, "allow_loss_call call_only_local habilita_npn habilita_npn_fixo")
    | _all(whole, " ".join(_BUNDLES))
    | _all(whole, "id_perfil id_plano id_plano_sms max_devices")
    | _all(number, " ".join(f"{name}_used" for name in _BUNDLES))
    | _all(number, " ".join(_STEPS))
    | _all(number, "available_disk_space disk_space")
    | {"franquia_last_reset": day, "sipcode_no_prefix": text, "tipo_tar": one_of(PaymentType)}
)
USER: Mapping[str, Read] = MappingProxyType(
    _all(whole, "id id_perfil failed_attempts logins")
    | _all(text, "username nome_completo")
    | _all(flag, "root api_access can_spy")
    | _all(secret, "api_key api_token")
    | _all(instant, "last_attempt last_login")
    | {"status": as_it_is}
)


def typed(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A record as it came, with the documented fields as what they are.

    A value that is not of the shape that its field was thought to have stays as it came: an answer is not lost
    over one field. Unknown fields are kept, *** where their name says that a secret stands in them.
    """
    found = _read(CLIENT, {name: value for name, value in raw.items() if name not in ("finance", "users")})
    if "finance" in raw:
        found["finance"] = _inner(FINANCE, raw["finance"])
    if "users" in raw:
        users = raw["users"]
        found["users"] = (
            [_inner(USER, each) for each in users] if isinstance(users, list) else _inner(USER, users)
        )
    return found


def _inner(fields: Mapping[str, Read], value: Any) -> Any:
    return _read(fields, value) if isinstance(value, Mapping) else without_secrets(value)


def _read(fields: Mapping[str, Read], raw: Mapping[str, Any]) -> dict[str, Any]:
    hidden = without_secrets(dict(raw))
    return {name: _one(fields.get(name), value, hidden[name]) for name, value in raw.items()}


def _one(read: Read | None, value: Any, hidden: Any) -> Any:
    if read is None or value is None:
        return hidden
    try:
        return read(value)
    except ValueError:
        return hidden


def shown(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A record for a result: enumerations by name, numbers with a fraction as texts, times in UTC, no secret."""
    return {name: _json(value) for name, value in typed(raw).items() if name not in ("error", "reason")}


def _json(value: Any) -> Any:
    match value:
        case IntEnum():
            return value.name.lower()
        case Secret():
            return MASK
        case Decimal():
            return plain(value)
        case datetime() | date():
            return value.isoformat().replace("+00:00", "Z")
        case Mapping():
            return {name: _json(each) for name, each in value.items()}
        case list():
            return [_json(each) for each in value]
        case _:
            return value
