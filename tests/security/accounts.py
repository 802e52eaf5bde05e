"""The accounts of docs/security.md, made on private services by the very commands that stand there."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from worker.sandbox.ports import LOOPBACK
from worker.sandbox.postgres import PrivatePostgres
from worker.sandbox.rabbitmq import PrivateRabbit

PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"
VHOST = "provisioning"
USERS = ("provisioning-worker", "crm", "operator")
ROLES = ("provisioning_owner", "provisioning_worker")


def block(name: str) -> str:
    """The text of the block after `<!-- test: name -->`."""
    found = re.search(rf"<!-- test: {name} -->\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, f"{PAGE.name} has no block {name}"
    return found[1]


@dataclass(frozen=True, slots=True)
class Broker:
    """Addresses in one virtual host: `of["crm"]`; `everything` may do all, for what a test itself needs."""

    vhost: str
    everything: str
    of: Mapping[str, str] = field(repr=False)


def broker_accounts(rabbit: PrivateRabbit) -> Broker:
    """A virtual host with the page's accounts, their names made unique."""
    mark = secrets.token_hex(4)
    names = {VHOST: f"{VHOST}-{mark}", **{user: f"{user}-{mark}" for user in USERS}}
    passwords: dict[str, str] = {}
    for line in block("rabbitmq-accounts").splitlines():
        _, verb, *words = shlex.split(line)
        words = [names.get(word, word) for word in words]
        if verb == "add_user":  # which asks for the password
            passwords[words[0]] = secrets.token_hex(12)
            words.append(passwords[words[0]])
        rabbit.ctl(verb, *words)
    vhost = names[VHOST]
    rabbit.ctl("set_permissions", "-p", vhost, "private", ".*", ".*", ".*")
    of = {user: f"amqp://{name}:{passwords[name]}@{LOOPBACK}:{rabbit.port}/{vhost}"
          for user in USERS if (name := names[user])}  # fmt: skip
    return Broker(vhost, rabbit.url_of(vhost), of)


@dataclass(frozen=True, slots=True)
class Database:
    """`owner` and `worker`: addresses of the two roles. `statements` runs some as the worker's role."""

    name: str
    owner: str
    worker: str = field(repr=False)


def database_accounts(postgres: PrivatePostgres) -> Database:
    """A database with the page's roles, their names made unique; no tables yet."""
    mark = secrets.token_hex(4)
    name = f"provisioning_{mark}"
    made = {role: f"{role}_{mark}" for role in ROLES}
    for part, where in (("postgresql-accounts", "postgres"), ("postgresql-grants", name)):
        for statement in block(part).split(";\n"):
            if statement.strip():
                postgres.execute(_renamed(statement, name, made), where)
    urls = []
    for role in made.values():
        password = secrets.token_hex(12)
        postgres.execute(f"ALTER ROLE {role} PASSWORD '{password}'")
        urls.append(f"postgresql://{quote(role)}:{password}@{LOOPBACK}:{postgres.port}/{name}")
    return Database(name, *urls)


def _renamed(statement: str, database: str, roles: Mapping[str, str]) -> str:
    statement = re.sub(r"\bDATABASE provisioning\b", f"DATABASE {database}", statement)
    return re.sub(r"\bprovisioning_\w+\b", lambda found: roles.get(found[0], found[0]), statement)


def drop(postgres: PrivatePostgres, database: Database) -> None:
    postgres.drop_database(database.name)
    for role in ROLES:
        postgres.execute(f"DROP ROLE {role}{database.name.removeprefix('provisioning')}")
