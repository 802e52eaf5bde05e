"""Who may use the console: users, sessions, tokens of programs, links of one use. Only hashes are kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from worker.journal.commands.endings import new_id
from worker.journal.core import write_audit
from worker.journal.driver import Row, Tx
from worker.messages.events import AuditDraft

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")  # each may what those before it may

IDLE = 8 * 3600.0  # seconds without a page after which a session ends
LONGEST = 24 * 3600.0  # seconds after which it ends in any case
SEEN_EVERY = 60.0  # seconds: a session is not written at each page
TRIES = 5  # wrong passwords in a row that cost nothing
LOCKED = 60.0  # seconds that the first lock holds; each further one twice as long
LOCKED_MOST = 3600.0
LINK = 24 * 3600.0  # seconds that a link can be used
BY_LINK = "who holds a link that makes one admin has used it"


@dataclass(frozen=True, slots=True)
class User:
    """`locked`: seconds until a password is looked at again, None where it is. `issuer`: of the provider that the
    person comes from, who then has no password here."""

    name: str
    role: Role
    password_hash: str
    disabled: bool
    locked: float | None = None
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: a signed-in user, or a program with a token."""

    name: str
    role: Role
    token: bool = False

    def may(self, role: Role) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


def fresh() -> str:
    """A secret that cannot be guessed: 32 random bytes."""
    return secrets.token_urlsafe(32)


def hashed(secret: str) -> str:
    """Of a secret with 256 random bits a plain hash tells nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


async def record(
    tx: Tx, what: str, actor: str, reason: str | None, details: Mapping[str, Any], platform: str = "unknown"
) -> None:
    await write_audit(tx, [(AuditDraft(what, platform, actor, reason, None, details), None)], new_id)


# ---------------------------------------------------------------- users


def _user(row: Row, now: float) -> User:
    locked = row["locked_until"]
    left = None if locked is None or locked <= now else locked - now
    return User(row["name"], row["role"], row["password_hash"], bool(row["disabled"]), left, row["issuer"])


async def user(tx: Tx, name: str) -> User | None:
    rows = await tx.rows("SELECT * FROM console_users WHERE name = $1", name)
    return _user(rows[0], tx.now) if rows else None


async def users(tx: Tx) -> list[dict[str, Any]]:
    rows = await tx.rows(
        "SELECT name, role, created_at, disabled, locked_until, issuer FROM console_users ORDER BY name"
    )
    return [
        {"name": row["name"], "role": row["role"], "created_at": row["created_at"], "issuer": row["issuer"]}
        | {"disabled": bool(row["disabled"]), "locked": (row["locked_until"] or 0) > tx.now}
        for row in rows
    ]


async def any_admin(tx: Tx) -> bool:
    rows = await tx.rows(
        "SELECT 1 AS one FROM console_users WHERE role = 'admin' AND disabled = false LIMIT 1"
    )
    return bool(rows)


async def put_user(tx: Tx, name: str, role: Role, password_hash: str | None, actor: str, reason: str) -> None:
    """Make a user, or give one another role or password; what was open under the name is closed.

    Who comes from a provider gets no password: two people would go by one name.
    """
    known = await tx.rows("SELECT name FROM console_users WHERE name = $1 FOR UPDATE", name)
    if known:
        await tx.run(
            "UPDATE console_users SET role = $2, failures = 0, locked_until = NULL, disabled = false,"
            " password_hash = CASE WHEN issuer IS NULL THEN COALESCE($3, password_hash) ELSE password_hash END"
            " WHERE name = $1",
            name,
            role,
            password_hash,
        )
        await end_sessions(tx, name)
    else:
        await tx.run(
            "INSERT INTO console_users (name, password_hash, role, created_at) VALUES ($1, $2, $3, $4)",
            name,
            password_hash or "",
            role,
            tx.now,
        )
    await record(tx, "user_changed" if known else "user_made", actor, reason, {"user": name, "role": role})


async def disable_user(tx: Tx, name: str, actor: str, reason: str) -> bool:
    done = await tx.run("UPDATE console_users SET disabled = true WHERE name = $1 AND disabled = false", name)
    if done:
        await end_sessions(tx, name)
        await record(tx, "user_disabled", actor, reason, {"user": name})
    return done == 1


async def wrong_password(tx: Tx, name: str, origin: str) -> None:
    """Count it; from the fifth in a row on, nobody signs in under that name for a while."""
    rows = await tx.rows("SELECT failures FROM console_users WHERE name = $1 FOR UPDATE", name)
    if rows:
        failures = int(rows[0]["failures"]) + 1
        pause = min(LOCKED * 2 ** min(failures - TRIES, 10), LOCKED_MOST) if failures >= TRIES else None
        until = None if pause is None else tx.now + pause
        await tx.run(
            "UPDATE console_users SET failures = $2, locked_until = $3::float8 WHERE name = $1",
            name,
            failures,
            until,
        )
    await record(tx, "sign_in_denied", name if rows else "unknown", None, {"from": origin})


# ---------------------------------------------------------------- sessions


async def sign_in(tx: Tx, name: str, origin: str, issuer: str | None = None) -> str:
    """A new session's secret, for the cookie. `issuer`: of the provider that let somebody in."""
    secret = fresh()
    await tx.run("UPDATE console_users SET failures = 0, locked_until = NULL WHERE name = $1", name)
    await tx.run("DELETE FROM console_sessions WHERE expires_at < $1::float8", tx.now)
    await tx.run(
        "INSERT INTO console_sessions (hash, user_name, created_at, seen_at, expires_at)"
        " VALUES ($1, $2, $3, $3, $4)",
        hashed(secret),
        name,
        tx.now,
        tx.now + LONGEST,
    )
    about = {"from": origin} if issuer is None else {"from": origin, "issuer": issuer}
    await record(tx, "signed_in", name, None, about)
    return secret


async def sign_in_as(tx: Tx, known: User, origin: str) -> str | None:
    """As `sign_in`; None where the user was changed since the password was looked at, which takes a while."""
    rows = await tx.rows(
        "SELECT password_hash, disabled FROM console_users WHERE name = $1 FOR UPDATE", known.name
    )
    if not rows or rows[0]["disabled"] or rows[0]["password_hash"] != known.password_hash:
        return None
    return await sign_in(tx, known.name, origin)


async def session(tx: Tx, secret: str) -> tuple[Person, bool] | None:
    """Whose it is, and whether `touch` is due; None where it is over, or its user may not any more."""
    rows = await tx.rows(
        "SELECT s.seen_at, u.name, u.role FROM console_sessions s JOIN console_users u ON u.name = s.user_name"
        " WHERE s.hash = $1 AND s.expires_at > $2::float8 AND s.seen_at > $3::float8 AND u.disabled = false",
        hashed(secret),
        tx.now,
        tx.now - IDLE,
    )
    if not rows:
        return None
    return Person(rows[0]["name"], rows[0]["role"]), rows[0]["seen_at"] < tx.now - SEEN_EVERY


async def touch(tx: Tx, secret: str) -> None:
    await tx.run("UPDATE console_sessions SET seen_at = $2::float8 WHERE hash = $1", hashed(secret), tx.now)


async def sign_out(tx: Tx, secret: str) -> None:
    await tx.run("DELETE FROM console_sessions WHERE hash = $1", hashed(secret))


async def end_sessions(tx: Tx, name: str) -> None:
    await tx.run("DELETE FROM console_sessions WHERE user_name = $1", name)


# ---------------------------------------------------------------- tokens of programs


class NameTaken(Exception):
    """Another live token has the name: audit records and repeated requests could not tell the two apart."""


async def make_token(tx: Tx, name: str, role: Role, days: float, actor: str, reason: str) -> str:
    """The token itself; it is shown once. Raises NameTaken."""
    await tx.lock("console_tokens")
    if await tx.rows(
        "SELECT id FROM console_tokens WHERE name = $1 AND revoked_at IS NULL AND expires_at > $2::float8 LIMIT 1",
        name,
        tx.now,
    ):
        raise NameTaken
    secret = "pw_" + fresh()
    await tx.run(
        "INSERT INTO console_tokens (hash, name, role, created_by, created_at, expires_at)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        hashed(secret),
        name,
        role,
        actor,
        tx.now,
        tx.now + days * 86400,
    )
    await record(tx, "token_made", actor, reason, {"token": name, "role": role, "days": days})
    return secret


async def token(tx: Tx, secret: str) -> Person | None:
    rows = await tx.rows(
        "SELECT name, role FROM console_tokens WHERE hash = $1 AND revoked_at IS NULL AND expires_at > $2::float8",
        hashed(secret),
        tx.now,
    )
    return Person(f"token {rows[0]['name']}", rows[0]["role"], token=True) if rows else None


async def tokens(tx: Tx) -> list[dict[str, Any]]:
    rows = await tx.rows(
        "SELECT id, name, role, created_by, created_at, expires_at, revoked_at FROM console_tokens ORDER BY id"
    )
    names = ("id", "name", "role", "created_by", "created_at", "expires_at", "revoked_at")
    return [{name: row[name] for name in names} for row in rows]


async def revoke_token(tx: Tx, number: int, actor: str, reason: str) -> bool:
    done = await tx.run(
        "UPDATE console_tokens SET revoked_at = $2::float8 WHERE id = $1 AND revoked_at IS NULL",
        number,
        tx.now,
    )
    if done:
        await record(tx, "token_revoked", actor, reason, {"token": number})
    return done == 1


# ---------------------------------------------------------------- the first admin


async def make_link(tx: Tx, actor: str, reason: str) -> str:
    """The secret of a link that makes one admin; older ones do not work any more."""
    secret = fresh()
    await tx.run("DELETE FROM console_links")
    await tx.run(
        "INSERT INTO console_links (hash, created_at, expires_at) VALUES ($1, $2, $3)",
        hashed(secret),
        tx.now,
        tx.now + LINK,
    )
    await record(tx, "link_made", actor, reason, {})
    return secret


async def link_is_good(tx: Tx, secret: str) -> bool:
    rows = await tx.rows(
        "SELECT 1 AS one FROM console_links WHERE hash = $1 AND expires_at > $2::float8",
        hashed(secret),
        tx.now,
    )
    return bool(rows)


async def use_link(tx: Tx, secret: str, name: str, password_hash: str) -> bool:
    """Make the admin, once: the link is gone in the same commit."""
    if not await tx.run(
        "DELETE FROM console_links WHERE hash = $1 AND expires_at > $2::float8", hashed(secret), tx.now
    ):
        return False
    await put_user(tx, name, "admin", password_hash, "link", BY_LINK)
    return True


async def put_first(tx: Tx, name: str, password_hash: str) -> bool:
    """The first admin, while there is none."""
    await tx.lock("console_first")
    if await any_admin(tx):
        return False
    await put_user(tx, name, "admin", password_hash, "link", BY_LINK)
    return True
