"""Lists below a client: groups, dial rules, users, external numbers, and reads that nobody shows an answer of."""

from collections.abc import Mapping
from typing import Any

from worker.simulators.ringme.calls import Call, Refusal
from worker.simulators.ringme.platform import Platform, Row
from worker.simulators.ringme.records import checked, needed

from .registry import operation

USER: Mapping[str, type] = {
    "login": str, "password": str, "name": str, "email": str, "status": str, "access": str,
    "email_notify": bool, "email_for_notify": str, "comment": str, "timezone": str, "extra_params": str,
}  # fmt: skip


def listing(name: str, path: str, table: str) -> None:
    @operation(f"{name}.list", "GET", f"/client/{{client_id}}/{path}/")
    def run(platform: Platform, call: Call) -> list[Row]:
        found = platform.rows(table, platform.client(call).record["id"])
        wanted = call.query.get("login")
        return [_shown(row) for row in found if wanted is None or row.get("login") == wanted]


def making(name: str, path: str, table: str, known: Mapping[str, type], *needs: str) -> None:
    @operation(f"{name}.create", "POST", f"/client/{{client_id}}/{path}/")
    def run(platform: Platform, call: Call) -> Row:
        client, given = platform.client(call).record["id"], checked(call.fields(), known)
        needed(given, *needs)
        _rules(given)
        id_ = platform.next_id()
        platform.tables[table][id_] = {**dict.fromkeys(known), **given, "id": id_, "client_id": client}
        return _shown(platform.tables[table][id_])


def changing(name: str, path: str, table: str, known: Mapping[str, type]) -> None:
    one = f"/client/{{client_id}}/{path}/{{{name}_id}}"

    @operation(f"{name}.update", "PUT", one)
    def update(platform: Platform, call: Call) -> Row:
        row = _row(platform, call, table, f"{name}_id")
        given = checked(call.fields(), known, nulls=False)
        _rules(given)
        row |= given
        return _shown(row)

    @operation(f"{name}.delete", "DELETE", one)
    def delete(platform: Platform, call: Call) -> None:
        del platform.tables[table][_row(platform, call, table, f"{name}_id")["id"]]


def _row(platform: Platform, call: Call, table: str, name: str) -> Row:
    row = platform.tables[table].get(call.number(name))
    if row is None or row["client_id"] != platform.client(call).record["id"]:
        raise Refusal(404, "not_found", "Record not found")
    return row


def _rules(given: Row) -> None:
    """Rules are objects of two texts."""
    for rule in given.get("dial_rules") or []:
        if not isinstance(rule, dict):
            raise Refusal(400, "bad_request", "Invalid value: dial_rules")
        known = checked(rule, {"match_exp": str, "repl_exp": str}, nulls=False)
        needed(known, "match_exp")
        if set(rule) != {"match_exp", "repl_exp"}:
            raise Refusal(400, "bad_request", "A rule has match_exp and repl_exp")


def _shown(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "password"}


GROUP: Mapping[str, type] = {"name": str, "extra_params": str}
listing("extension_group", "extension_group", "groups")
making("extension_group", "extension_group", "groups", GROUP, "name")
changing("extension_group", "extension_group", "groups", GROUP)
listing("dial_rule", "dial_rule", "dial_rules")
making("dial_rule", "dial_rule", "dial_rules", {"dial_rules": list}, "dial_rules")
changing("dial_rule", "dial_rule", "dial_rules", {"dial_rules": list})
listing("user_client", "user/client", "users")
making("user_client", "user/client", "users", USER, "login", "password", "name", "email")
listing("user_extension_group", "user/extension_group", "group_users")
making("user_extension_group", "user/extension_group", "group_users", {**USER, "extension_group_id": int},
       "extension_group_id", "login", "password", "name", "email")  # fmt: skip
listing("did", "did", "dids")


@operation("dial_rule.get", "GET", "/client/{client_id}/dial_rule/{dial_rule_id}")
def dial_rule(platform: Platform, call: Call) -> Row:
    return _shown(_row(platform, call, "dial_rules", "dial_rule_id"))


def empty(name: str, path: str, answer: Any) -> None:
    """A read whose answer nobody shows."""

    @operation(name, "GET", f"/client/{{client_id}}/{path}/")
    def run(platform: Platform, call: Call) -> Any:
        platform.client(call)
        return answer


for _name, _path, _answer in (
    ("limit.get", "limit", {}),
    ("disk_space.get", "disk_space", {}),
    ("alias.list", "alias", []),
    ("reg_status_log.list", "reg_status_log", []),
    ("current_calls.list", "current_calls", []),
    ("quality_rate.list", "quality_rate", []),
    ("sound.list", "sound", []),
):
    empty(_name, _path, _answer)
