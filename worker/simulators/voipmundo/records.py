"""How the platform shows what it holds: ids and flags as texts, as the samples have them."""

from .state import FINANCE, OWNERSHIP, PERMISSIONS, Client, Row, State


def record(state: State, client: Client) -> Row:
    """The 77 documented fields, `error` and `reason` apart. No name, document, address or balance is among them."""
    shown = {name: str(client.fields.get(name, "0")) for name in (*OWNERSHIP, *PERMISSIONS)}
    user = user_row(client)
    return {
        "id": str(client.id),
        **shown,
        "tipo": str(client.kind),
        "status": str(client.status),
        "finance": dict(FINANCE),
        "users": [user] if state.switches.users == "list" else user,
    }


def user_row(client: Client) -> Row:
    return {
        "id": str(client.id),
        "id_perfil": "1",
        "username": client.username,
        "nome_completo": client.name,
        "root": "1",
        "status": "1",
        "api_access": "1",
        "api_key": client.key,
        "api_token": client.token,
        "can_spy": "0",
        "failed_attempts": "0",
        "last_attempt": "0",
        "last_login": "1767225600",
        "logins": "3",
    }


def client_row(client: Client) -> Row:
    names = ("nome_fantasia", "razao_social", "cpf", "email")
    shown = {name: str(client.fields.get(name) or "") for name in names}
    return {"id": str(client.id), **shown, "status": str(client.status)}


def contact_row(client: Client) -> Row:
    def text(name: str) -> str | None:
        value = client.fields.get(name)
        return None if value is None else str(value)

    return {
        "id": client.id,
        "type": client.kind,
        "type_desc": "Assinante" if client.kind == 4 else "Revenda",
        "nome_fantasia": text("nome_fantasia"),
        "razao_social": text("razao_social"),
        "contact": {"mobile": text("celular"), "phone1": text("telefone"), "email1": text("email")},
        "address": {"city": text("cidade"), "state": text("uf")},
        "status": client.status,
        "users": [],
    }


def device_row(client: Client, device: Row) -> Row:
    """All values are texts in the sample; the password is not among them."""
    flags = {name: str(device.get(name, 1)) for name in ("fixo", "movel", "fixo_ddi", "movel_ddi", "status")}
    return {
        "id": str(device["id"]),
        "id_cliente": str(client.id),
        "id_plano": str(device.get("rate_id", "0")),
        "username": str(device.get("username", "")),
        "domain": None,
        "port": "5060",
        "tipo_tar": "0",
        "saldo": f"{float(device['saldo']):.5f}",
        "voip": "1",
        "fixo_local": "1",
        **flags,
    }
