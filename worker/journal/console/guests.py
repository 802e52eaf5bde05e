"""People whom an OpenID Connect provider lets into the console: issuer and subject are who they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.journal.console.people import Role, end_sessions, record, sign_in
from worker.journal.driver import Row, Tx

ACTOR = "provider"
SAID_SO = "the provider names another role at the sign-in"
FIRST_TIME = "signed in by the provider for the first time"
# Who else acts, in audit records; the last two as users of the machine do, by the command line.
RESERVED = {ACTOR, "link", "worker", "unknown", "token", "root", "postgres"}


async def enter(tx: Tx, issuer: str, subject: str, name: str, role: Role, origin: str) -> str | None:
    """A new session's secret; None for somebody who was disabled here.

    The role is what the provider says now. The name is given once: what stands in the audit chain keeps its meaning
    when somebody is called otherwise, and nobody gets a name that another one has, or had.
    """
    await tx.lock("console_guests")  # the same person in two browsers, or two people of one name
    known = await _known(tx, issuer, subject)
    if known is None:
        name = await _free(tx, name)
        await _make(tx, issuer, subject, name, role)
    elif known["disabled"]:
        return None
    else:
        name = known["name"]
        if known["role"] != role:
            await tx.run("UPDATE console_users SET role = $2 WHERE name = $1", name, role)
            await record(tx, "user_changed", ACTOR, SAID_SO, {"user": name, "role": role})
    return await sign_in(tx, name, origin, issuer)


async def deny(tx: Tx, issuer: str, subject: str | None, why: str, about: Mapping[str, Any]) -> None:
    """Written down under the name that the person has here. Who has no role any more is out everywhere."""
    known = None if subject is None else await _known(tx, issuer, subject)
    if known is not None:
        await end_sessions(tx, known["name"])
    more = {"issuer": issuer, "subject": subject, **about}
    details = {name: value for name, value in more.items() if value is not None}
    await record(tx, "sign_in_denied", known["name"] if known else "unknown", why, details)


async def _known(tx: Tx, issuer: str, subject: str) -> Row | None:
    rows = await tx.rows(
        "SELECT name, role, disabled FROM console_users WHERE issuer = $1 AND subject = $2 FOR UPDATE",
        issuer,
        subject,
    )
    return rows[0] if rows else None


async def _free(tx: Tx, name: str) -> str:
    taken = {row["name"].casefold() for row in await tx.rows("SELECT name FROM console_users")} | RESERVED
    number, free = 1, name
    while free.casefold() in taken:
        number += 1
        free = f"{name}.{number}"
    return free


async def _make(tx: Tx, issuer: str, subject: str, name: str, role: Role) -> None:
    await tx.run(
        "INSERT INTO console_users (name, password_hash, role, created_at, issuer, subject)"
        " VALUES ($1, '', $2, $3, $4, $5)",
        name,
        role,
        tx.now,
        issuer,
        subject,
    )
    details = {"user": name, "role": role, "issuer": issuer, "subject": subject}
    await record(tx, "user_made", ACTOR, FIRST_TIME, details)
