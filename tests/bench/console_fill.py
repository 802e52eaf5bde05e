"""A journal as it is after months: a million commands, two audit records for each, hundreds of batches."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from worker.journal.journal import StoredJournal

PEOPLE = 200_000
PORTION = 50_000  # rows a commit
NOW = time.time()
PERSON = f"n % {PEOPLE}"  # five commands about each
OF_A_BATCH = 1_000  # every third command is of a batch, a thousand in each
ACTS = 300
ITEMS = 10_000  # of the newest act on many
REFUSED = 20_000  # messages in quarantine
BIG = 100_000  # rows of the newest batch

# One in fifty was rejected, one in five hundred is parked, one in two thousand is in doubt, the last 2000 wait, and
# before them 500 that may not run before tomorrow.
PLATFORM = "CASE WHEN (PERSON) % 100 = 0 THEN 'ringme-small' WHEN (PERSON) % 3 = 0 THEN 'voipmundo-br' ELSE 'sippulse-br' END"
STATE = (
    "CASE WHEN n > COUNT - 2500 THEN 'waiting' WHEN n % 2000 = 7 THEN 'in_doubt' WHEN n % 500 = 3 THEN 'parked'"
    " WHEN n % 50 = 1 THEN 'rejected' ELSE 'succeeded' END"
)
KEY = "PLATFORM || ':subscriber:person' || (PERSON) || '@sip.example'"
TYPE = "CASE n % 7 WHEN 0 THEN 'credit.add.v1' WHEN 1 THEN 'subscriber.create.v1' ELSE 'calls.block.v1' END"
AT = "(NOW - (COUNT - n) * 0.2)"
ENDED = "STATE IN ('succeeded', 'rejected')"
LATER = "n > COUNT - 2500 AND n <= COUNT - 2000"
COMMANDS = f"""
INSERT INTO commands (id, lane_id, source, message_id, idem_key, type, platform, partition_key, priority, state,
    arrival, due_at, not_before, data_sealed, risk, first_risk, attempts, received_at, started_at, finished_at, effect,
    problem, batch_id)
SELECT n, PERSON + 1, '/crm', 'm-' || n, CASE WHEN n % 5 = 0 THEN 'k-' || n ELSE 'm-' || n END, {TYPE}, PLATFORM,
    {KEY}, 1, STATE, CASE WHEN {LATER} THEN NULL ELSE n END, NULL, CASE WHEN {LATER} THEN NOW + 86400 ELSE NULL END,
    'SEALED', 'claim', 'claim', 1, {AT}, {AT} + 0.1, CASE WHEN {ENDED} THEN {AT} + 1 ELSE NULL END,
    CASE STATE WHEN 'succeeded' THEN 'applied' WHEN 'in_doubt' THEN 'unknown' ELSE 'none' END,
    CASE WHEN STATE IN ('rejected', 'parked') THEN
        '{{"code":"platform_refused","message":"line ' || n || ' of kind ' || (CASE n % 3 WHEN 0 THEN 'a' ELSE 'b' END)
        || ' is not free","advice":"look"}}' ELSE NULL END,
    CASE WHEN n % 3 = 0 THEN 'b-' || (n / 3 / {OF_A_BATCH}) ELSE NULL END
FROM SERIES
"""
LANES = "INSERT INTO lanes (id, key, platform) SELECT n + 1, KEY, PLATFORM FROM SERIES".replace("KEY", KEY)
ATTEMPTS = f"""
INSERT INTO attempts (command_id, number, endpoint, outcome, status, ms, request, answer, at)
SELECT n, 1, 'SubscriberWS.blockOutgoingCalls', CASE WHEN STATE = 'succeeded' THEN 'done' ELSE 'refused' END, 200, 41.5,
    '<request>{"x" * 200}</request>', '<answer>{"x" * 200}</answer>', {AT} + 0.5
FROM SERIES WHERE STATE <> 'waiting'
"""
READINGS = f"""
INSERT INTO evidence (command_id, step, attempt, kind, reading_sealed, at)
SELECT n, 'credit', 1, 'before', 'READING', {AT} + 0.4 FROM SERIES WHERE STATE = 'in_doubt' OR n % 7 = 0
"""
RECORDS = f"""
INSERT INTO audit (what, platform, command_id, event_id, record, at, number, mac, published_at, taken)
SELECT what, platform, command, 'e-' || n || what, '{{"what":"' || what || '","platform":"' || platform || '","actor":"'
    || actor || '","reason":null,"command":{{"id":"m-' || n || '","type":"' || type || '","partitionkey":"' || key
    || '","subject":null,"state":"' || state || '","source":"/crm"}},"details":{{}},"at":"2026-11-22T05:30:00.000Z"}}',
    at, number, '{"0" * 64}', at, true
FROM (
    SELECT n, 'admitted' AS what, 'sender' AS actor, PLATFORM AS platform, n AS command, {TYPE} AS type, {KEY} AS key,
        STATE AS state, {AT} AS at, n * 2 - 1 AS number FROM SERIES
    UNION ALL
    SELECT n, CASE WHEN n % 500 = 0 THEN 'retried' ELSE 'ended' END, CASE WHEN n % 500 = 0 THEN 'ana' ELSE 'worker' END,
        PLATFORM, n, {TYPE}, {KEY}, STATE, {AT} + 1, n * 2 FROM SERIES
) AS them ORDER BY number
"""
# Row r of all batches became command 3 r.
ROWS_STATE = "CASE STATE WHEN 'rejected' THEN 'failed' WHEN 'parked' THEN 'parked' WHEN 'waiting' THEN 'sent' ELSE 'done' END"
BATCHES = f"""
INSERT INTO batches (name, platform, title, file, content, plan, state, total, created_by, created_at, sent_at)
SELECT 'b-' || n, 'sippulse-br', 'calls.block', 'debtors.csv', 'c', 'p', 'sent', {OF_A_BATCH}, 'olga',
    NOW - (COUNT - n) * 600, NOW - (COUNT - n) * 600 + 60
FROM SERIES
"""
BATCH_ROWS = f"""
INSERT INTO batch_rows (batch_id, row_hash, content_mac, number, state, keys_sealed)
SELECT r / {OF_A_BATCH} + 1, 'h' || r, 'c', r % {OF_A_BATCH} + 2, {ROWS_STATE}, 'KEYS'
FROM (SELECT n AS r, n * 3 AS n FROM SERIES) AS them
"""
BATCH_COMMANDS = f"""
INSERT INTO batch_commands (row_id, part, type, message_id, message_hash, key_hash)
SELECT r, 0, {TYPE}, 'm-' || n, 'h-' || n, 'k-' || n FROM (SELECT n AS r, n * 3 AS n FROM SERIES) AS them
"""
IDENTITIES = f"""
INSERT INTO identities (id, message_hash, key_hash, source, message_id, idem_key, content_mac, role, command_id, status,
    created_at)
SELECT n, 'h-' || n, 'k-' || n, '/crm', 'm-' || n, 'm-' || n, 'c', 'command', n,
    CASE WHEN {ENDED} THEN STATE ELSE NULL END, {AT} FROM (SELECT n * 3 AS n FROM SERIES) AS them
"""
BIG_ROWS = f"""
INSERT INTO batch_rows (batch_id, row_hash, content_mac, number, state, keys_sealed)
SELECT COUNT, 'b' || n, 'c', n + 1, CASE WHEN n % 50 = 0 THEN 'bad' WHEN n > {BIG} / 2 THEN 'sent' ELSE 'done' END, 'KEYS'
FROM SERIES
"""
QUARANTINE = """
INSERT INTO quarantine (uid, source, message_id, type, platform, queue, code, message, size, body_sealed, at, state)
SELECT '0000-' || n, '/crm', 'q-' || n, 'calls.block.v1', 'sippulse-br', 'provisioning.commands', 'invalid',
    'line ' || n || ' is not readable', 400, 'SEALED', NOW - (COUNT - n), CASE WHEN n % 20 = 0 THEN 'kept' ELSE 'dropped' END
FROM SERIES
"""
ACTS_ON_MANY = """
INSERT INTO console_acts (what, wanted, actor, reason, state, total, began_at, ended_at, beat_at)
SELECT 'retry', '{"state":"parked"}', 'ana', 'the platform is back', 'done', 100, NOW - (COUNT - n) * 3600,
    NOW - (COUNT - n) * 3600 + 60, NOW - (COUNT - n) * 3600 + 60
FROM SERIES
"""
ITEMS_OF_ACTS = """
INSERT INTO console_act_items (act_id, command_id, portion, became, result)
SELECT ACT, n, 1, n, CASE WHEN n % 50 = 1 THEN 'refused' ELSE 'acted' END FROM SERIES
"""


@dataclass(frozen=True, slots=True)
class Filled:
    commands: int
    batches: int

    @property
    def records(self) -> int:
        return 2 * self.commands


def _statement(text: str, count: int, postgres: bool, low: int, high: int) -> str:
    series = f"generate_series({low}, {high}) AS g(n)"
    if not postgres:
        series = f"(WITH RECURSIVE g(n) AS (SELECT {low} UNION ALL SELECT n + 1 FROM g WHERE n < {high}) SELECT n FROM g)"
    text = text.replace("STATE", f"({STATE})").replace("PLATFORM", f"({PLATFORM})").replace("PERSON", PERSON)
    return text.replace("SERIES", series).replace("NOW", str(NOW)).replace("COUNT", str(count))


async def fill(journal: StoredJournal, commands: int, postgres: bool) -> Filled:
    seal = journal.core.vault.seal
    about = {"username": "person4711", "domain": "sip.example"}
    data = {"platform": "sippulse-br", "subscriber": about, "note": "x" * 150}
    sealed = {"SEALED": seal(data), "READING": seal({"balance": "35.00"}), "KEYS": seal({"username": "ana"})}

    async def write(text: str, low: int, high: int, count: int = commands) -> None:
        for start in range(low, high + 1, PORTION):
            sql = _statement(text, count, postgres, start, min(start + PORTION - 1, high))
            for name, value in sealed.items():
                sql = sql.replace(f"'{name}'", f"'{value}'")

            async def work(tx: Any, sql: str = sql) -> None:
                await tx.run(sql)

            await journal.run(work)

    rows = commands // 3
    batches = rows // OF_A_BATCH + 2  # the last one is the big one
    await write(LANES, 0, PEOPLE - 1)
    for text in (COMMANDS, ATTEMPTS, READINGS, RECORDS):
        await write(text, 1, commands)
    await write(BATCHES, 0, batches - 1, batches)
    for text in (BATCH_ROWS, BATCH_COMMANDS, IDENTITIES):
        await write(text, 1, rows)
    await write(BIG_ROWS, 1, BIG, batches)
    await write(QUARANTINE, 1, REFUSED, REFUSED)
    await write(ACTS_ON_MANY, 1, ACTS, ACTS)
    for act in range(1, ACTS + 1):
        items = ITEMS if act == ACTS else min(100, commands)
        await write(ITEMS_OF_ACTS.replace("ACT,", f"{act},"), 1, min(items, commands))
    return Filled(commands, batches)
