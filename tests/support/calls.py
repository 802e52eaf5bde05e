"""A platform's database of calls, for tests: filled by the simulator's own tables, read as least as possible."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql
import pytest

from worker.sandbox.mariadb import PrivateMariaDb
from worker.sandbox.ports import LOOPBACK
from worker.simulators.sippulse.call_records import SCHEMA

PASSWORD = "read-0nly-s3cret"
CREDIT = Path(__file__).parents[2] / "docs" / "credit.md"


def told_to_grant() -> list[str]:
    """The statements that operators are told to run: the tests sign in with what these give."""
    text = (
        CREDIT.read_text(encoding="utf-8")
        .partition("<!-- test: mariadb-grants -->\n```sql\n")[2]
        .partition("```")[0]
    )
    return [line.removesuffix(";") for line in text.splitlines() if line]


@dataclass(frozen=True, slots=True)
class Calls:
    """`owner`: address for the simulator, which writes. `reader`: for the worker, which may read two tables."""

    server: PrivateMariaDb = field(repr=False)
    name: str
    reader_name: str

    @property
    def owner(self) -> str:
        return self.server.url(self.name)

    @property
    def reader(self) -> str:
        return self.server.url(self.name, self.reader_name, PASSWORD)

    def run(self, *statements: str) -> tuple[tuple[Any, ...], ...]:
        """As the owner; the rows of the last one."""
        return self._run("private", self.server.password, statements)

    def run_as_reader(self, *statements: str) -> tuple[tuple[Any, ...], ...]:
        return self._run(self.reader_name, PASSWORD, statements)

    def _run(self, user: str, password: str, statements: Sequence[str]) -> tuple[tuple[Any, ...], ...]:
        with (
            pymysql.connect(
                host=LOOPBACK,
                port=self.server.port,
                user=user,
                password=password,
                database=self.name,
                autocommit=True,
            ) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)
            return tuple(cursor.fetchall())

    def call(self, account: str = "ana@pbx.example", table: str = "cdrs", **columns: Any) -> None:
        row: Mapping[str, Any] = {
            "accountcode": account,
            "time" if table == "acc" else "call_start_time": "2026-05-01 12:00:00",
            **({} if table == "acc" else {"price": "0.35", "duration": "60"}),
            "service": "pstn",
            **columns,
        }
        names = ", ".join(f"`{name}`" for name in row)
        values = ", ".join("NULL" if value is None else f"'{value}'" for value in row.values())
        self.run(f"INSERT INTO {table} ({names}) VALUES ({values})")

    def many(self, count: int, account: str = "ana@pbx.example") -> None:
        """That many completed calls, all columns filled, a second apart from 2026-05-01 00:00:00 on."""
        self.run(
            "INSERT INTO cdrs (call_start_time, src_uri, dst_uri, caller_domain, caller_id, sip_call_id,"
            " sip_from_tag, sip_to_tag, duration, rate, price, accountcode, service, rateplan_name, rateplan_prepaid,"
            " reseller_name, gw_address, gw_name, user_agent, src_ip, matched_prefix, matched_prefix_name)"
            " SELECT '2026-05-01' + INTERVAL seq SECOND, REPEAT('s', 60), REPEAT('d', 60), 'pbx.example', 'ana',"
            " CONCAT('call-', seq, REPEAT('x', 40)), UUID(), UUID(), seq % 100, 0.29, (seq % 100) / 100,"
            f" '{account}', 'pstn', 'standard', 1, REPEAT('r', 30), '192.0.2.1', 'gateway', REPEAT('u', 40),"
            f" '192.0.2.2', '5511', 'Brazil' FROM seq_1_to_{count}"
        )


@contextmanager
def calls_of(server: PrivateMariaDb, name: str | None = None) -> Iterator[Calls]:
    """A database of the test's own, with the platform's tables, and an account that may read those alone."""
    token = secrets.token_hex(4)
    database, reader = name or f"calls_{token}", f"reader_{token}"
    admin = Calls(server, "mysql", "")
    admin.run(f"CREATE DATABASE {database}")
    made = Calls(server, database, reader)
    made.run(*SCHEMA)
    made.run(*granted(database, reader))
    yield made
    admin.run(f"DROP DATABASE {database}", f"DROP USER '{reader}'@'%'")


def granted(database: str, reader: str) -> list[str]:
    """What operators are told to do, with the names of a test."""
    told = told_to_grant()
    assert len(told) == 3, told
    return [
        line.replace("<a password>", PASSWORD)
        .replace("provisioning_reader", reader)
        .replace("sippulse.", f"{database}.")
        for line in told
    ]


@pytest.fixture
def calls(mariadb: PrivateMariaDb) -> Iterator[Calls]:
    with calls_of(mariadb) as made:
        yield made
