"""The platform's database of calls: `vi_cdrs` and `acc`, written as calls are made and rated."""

import asyncio
import itertools
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import aiomysql  # type: ignore[import-untyped] # it has no types

Row = Mapping[str, Any]

# `vi_cdrs` is a view, as on the platform; the table behind it is our own.
SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS cdrs (
        id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, call_start_time datetime, src_uri varchar(255),
        dst_uri varchar(255), caller_domain varchar(255), caller_id varchar(255), sip_call_id varchar(255),
        sip_from_tag varchar(255), sip_to_tag varchar(255), duration varchar(255), rate double, price double,
        accountcode varchar(128), service varchar(32), rateplan_name varchar(64), rateplan_tx_conn int(11),
        rateplan_cadency int(11), rateplan_markup double, rateplan_prepaid tinyint(1), rateplan_rateid int(11),
        reseller_id int(11), reseller_name varchar(64), reseller_rateplan_id int(11), gwid int(10),
        gw_address varchar(64), gw_name varchar(64), gw_rateid int(11), providerid int(11),
        provider_name varchar(64), provider_tx_conn int(11), provider_cadency int(11), profile varchar(20),
        user_agent varchar(64), src_ip varchar(15), matched_prefix varchar(20), matched_prefix_name varchar(128),
        reseller_rate double, reseller_price double, reseller_matched_prefix varchar(20),
        reseller_matched_prefix_name varchar(128), cost double, cost_price double,
        KEY account (accountcode, id)
    ) CHARACTER SET utf8mb4
    """,
    "CREATE OR REPLACE VIEW vi_cdrs AS SELECT * FROM cdrs",
    """
    CREATE TABLE IF NOT EXISTS acc (
        id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, time datetime, sip_code varchar(3), sip_reason varchar(32),
        src_uri varchar(255), dst_uri varchar(255), caller_domain varchar(255), caller_id varchar(255),
        callid varchar(255), from_tag varchar(255), to_tag varchar(255), accountcode varchar(128),
        service varchar(32), gwid int(10), profile varchar(20), user_agent varchar(64), src_ip varchar(15),
        poippi_origem varchar(10), poippi_destino varchar(10), eot_origem varchar(3), eot_destino varchar(3),
        direction varchar(8), descritor varchar(5),
        KEY account (accountcode, id)
    ) CHARACTER SET utf8mb4
    """,
)
TABLES = {"vi_cdrs": "cdrs", "acc": "acc"}


class CallRecords:
    """Writes to the database at `url` (mysql://user:password@host:port/name), whose tables it makes. Times in UTC."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = itertools.count(1)
        self._ready: asyncio.Task[Any] | None = None
        self._lock = asyncio.Lock()
        self._writing: set[asyncio.Task[None]] = set()

    def rated(self, username: str, domain: str, price: str, delay: float, call: Row) -> None:
        """A completed call shows after `delay` seconds; `call`: columns that are otherwise than usual."""
        self._later("vi_cdrs", {**completed(next(self._numbers), username, domain, price), **call}, delay)

    def failed(self, username: str, domain: str, call: Row) -> None:
        self._later("acc", {**failed(next(self._numbers), username, domain), **call}, 0.0)

    def _later(self, table: str, row: Row, delay: float) -> None:
        task = asyncio.create_task(self._after(delay, table, row))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _after(self, delay: float, table: str, row: Row) -> None:
        await asyncio.sleep(delay)
        await self.write(table, row)

    async def write(self, table: str, *rows: Row) -> None:
        """All in one transaction; `table`: vi_cdrs or acc."""
        connection = await self.connection()
        async with self._lock:
            await connection.begin()
            async with connection.cursor() as cursor:
                for row in rows:
                    names, places = ", ".join(row), ", ".join(["%s"] * len(row))
                    statement = f"INSERT INTO {TABLES[table]} ({names}) VALUES ({places})"  # noqa: S608 - our names
                    await cursor.execute(statement, tuple(row.values()))
            await connection.commit()

    async def settled(self) -> None:
        """All that was to be written is."""
        while self._writing:
            await asyncio.wait(self._writing)

    async def connection(self) -> Any:
        if self._ready is None:
            self._ready = asyncio.create_task(self._open())
        return await asyncio.shield(self._ready)

    async def _open(self) -> Any:
        parts = urlsplit(self._url)
        connection = await aiomysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            db=unquote(parts.path.removeprefix("/")),
            charset="utf8mb4",
            autocommit=True,
            sql_mode="ANSI_QUOTES",
        )
        async with connection.cursor() as cursor:
            for statement in ("SET sql_notes = 0", *SCHEMA):  # that a table is there already is no news
                await cursor.execute(statement)
        return connection

    def stop(self) -> None:
        for task in self._writing:
            task.cancel()
        if self._ready is not None and self._ready.done():
            with suppress(Exception):  # it never opened
                self._ready.result().close()
        self._ready = None


def completed(number: int, username: str, domain: str, price: str) -> dict[str, Any]:
    seconds = 60 + number % 240
    return {
        "call_start_time": (datetime.now(UTC) - timedelta(seconds=seconds)).replace(
            tzinfo=None, microsecond=0
        ),
        "src_uri": f"sip:{username}@{domain}",
        "dst_uri": f"sip:55114002{number % 10000:04d}@{domain}",
        "caller_domain": domain,
        "caller_id": username,
        "sip_call_id": f"call-{number}@{domain}",
        "duration": str(seconds),
        "rate": "0.29",
        "price": price,
        "accountcode": f"{username}@{domain}",
        "service": "pstn",
        "rateplan_name": "standard",
        "rateplan_prepaid": 1,
        "gwid": 7,
        "src_ip": "192.0.2.17",
    }


def failed(number: int, username: str, domain: str) -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).replace(tzinfo=None, microsecond=0),
        "sip_code": "408",
        "sip_reason": "Request Timeout",
        "src_uri": f"sip:{username}@{domain}",
        "dst_uri": f"sip:55114002{number % 10000:04d}@{domain}",
        "caller_domain": domain,
        "caller_id": username,
        "callid": f"lost-{number}@{domain}",
        "accountcode": f"{username}@{domain}",
        "service": "pstn",
    }
