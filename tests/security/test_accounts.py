"""The accounts of docs/security.md are enough for all that the worker does, and for nothing else."""

from __future__ import annotations

import json
import shlex
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import aio_pika
import asyncpg
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import AMQPError, ChannelAccessRefused

from tests.security.accounts import Broker, Database, block, broker_accounts, database_accounts, drop
from tests.support.amqp import STRUCTURED, command, eventually
from tests.support.storm import DOMAIN, Order, Sippulse, Storm, create, credit, order
from tests.support.worker import Workers
from worker.sandbox.postgres import PrivatePostgres
from worker.sandbox.rabbitmq import PrivateRabbit


@pytest.fixture(scope="module")
def broker(rabbit: PrivateRabbit) -> Iterator[Broker]:
    made = broker_accounts(rabbit)
    yield made
    rabbit.remove_vhost(made.vhost)


@pytest.fixture
def database(postgres: PrivatePostgres) -> Iterator[Database]:
    made = database_accounts(postgres)
    yield made
    drop(postgres, made)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Sippulse]:
    async with Sippulse(tmp_path) as simulator:
        yield simulator


def mixed() -> list[Order]:
    """Twenty orders: five subscribers come, get credit, are blocked and unblocked; one goes."""
    names = [f"55114000{number:04d}" for number in range(1, 6)]
    orders = [create(name) for name in names]
    orders += [credit(name) for name in names]
    orders += [order("calls.block", name, kinds=["outgoing"]) for name in names]
    orders += [order("calls.unblock", name, kinds=["outgoing"]) for name in names[1:]]
    return [*orders, order("subscriber.remove", names[0])]


async def upgrade(workers: Workers, database: Database) -> None:
    """As the page says, by the role that owns the tables."""
    assignment, program, *words = shlex.split(block("postgresql-upgrade"))
    assert (assignment.partition("=")[0], program) == ("WORKER__JOURNAL__URL", "worker")
    done = await workers.worker(*words, WORKER__JOURNAL__URL=database.owner)
    assert done.code == 0, done.err


async def test_the_worker_needs_no_more_than_its_accounts(
    broker: Broker, database: Database, platform: Sippulse, tmp_path: Path
) -> None:
    """Twenty orders, some of them twice, over a restart and a kill; every verb that looks or keeps."""
    own = broker.of["provisioning-worker"]
    async with Workers(tmp_path, own, {"sippulse-br": platform.url}, journal=database.worker) as workers:
        await upgrade(workers, database)
        first = await workers.start()
        async with Storm(broker.everything) as storm:
            orders = mixed()
            await storm.send(orders[:10], twice=0.3)
            await storm.until_final()
            first.terminate()
            await first.ended()
            second = await workers.start()
            await storm.send(orders[10:], twice=0.3)
            second.kill()
            third = await workers.start()
            await storm.until_final()
            account = await storm.account(platform)
            account.check()
            account.expect(succeeded=20)
            for words in ("doctor", "commands list", "audit verify", "journal purge", "journal rekey"):
                done = await workers.worker(*words.split())
                assert done.code == 0, f"{words}: {done.out}{done.err}"
            assert not third.events("journal.statement_refused"), third.tail()
            assert "ACCESS_REFUSED" not in third.log()


async def test_an_answer_reaches_the_senders_own_queue_and_the_command_line(
    broker: Broker, database: Database, platform: Sippulse, tmp_path: Path
) -> None:
    """A sender with its own account: command in, result by `reply_to` and by the results' exchange."""
    own = broker.of["provisioning-worker"]
    name = "551140000077"
    await platform.subscribers([name], balance="5")
    async with Workers(tmp_path, own, {"sippulse-br": platform.url}, journal=database.worker) as workers:
        await upgrade(workers, database)
        await workers.start()
        heard = await order_and_hear(broker.of["crm"], name)
        assert heard == {"crm.answers": "succeeded", "crm.results": "succeeded"}
        words = (
            "send",
            "credit.get",
            f"subscriber.username={name}",
            f"subscriber.domain={DOMAIN}",
            "--wait",
            "60",
        )
        done = await workers.worker(*words, WORKER__BROKER__URL=broker.of["operator"])
        assert done.code == 0, done.err + done.out


async def order_and_hear(url: str, name: str) -> dict[str, str]:
    """Which of the sender's queues heard what."""
    heard: dict[str, str] = {}
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for queue_name in ("crm.answers", "crm.results"):
            queue = await channel.declare_queue(queue_name, durable=True)
            if queue_name == "crm.results":
                await queue.bind("provisioning.results", "#")

            async def hear(
                message: aio_pika.abc.AbstractIncomingMessage, queue_name: str = queue_name
            ) -> None:
                heard[queue_name] = str(json.loads(message.body)["data"]["status"])
                await message.ack()

            await queue.consume(hear)
        body = json.dumps(command(data={"platform": "sippulse-br",
                                        "subscriber": {"username": name, "domain": DOMAIN}})).encode()  # fmt: skip
        message = aio_pika.Message(body, content_type=STRUCTURED, reply_to="crm.answers", delivery_mode=2)
        exchange = await channel.get_exchange("provisioning.commands", ensure=False)
        await exchange.publish(message, "subscriber.block.v1", mandatory=True)
        await eventually(lambda: len(heard) == 2, 60, what=f"two answers, not {heard}")
    return heard


# ---------------------------------------------------------------- what is denied

Act = Callable[[AbstractChannel], Awaitable[object]]


def publish(exchange: str) -> Act:
    async def act(channel: AbstractChannel) -> None:
        target = await channel.get_exchange(exchange, ensure=False)
        await target.publish(aio_pika.Message(b"{}"), "x", mandatory=False)

    return act


def consume(queue: str) -> Act:
    async def act(channel: AbstractChannel) -> None:
        found = await channel.get_queue(queue, ensure=False)

        async def ignore(_message: object) -> None: ...

        await found.consume(ignore, consumer_tag=uuid.uuid4().hex)

    return act


def purge(queue: str) -> Act:
    async def act(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).purge()

    return act


def declare(queue: str) -> Act:
    return lambda channel: channel.declare_queue(queue, durable=True)


def delete(queue: str) -> Act:
    return lambda channel: channel.queue_delete(queue)


def delete_exchange(exchange: str) -> Act:
    return lambda channel: channel.exchange_delete(exchange)


def bind(queue: str, exchange: str) -> Act:
    async def act(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).bind(exchange, "#")

    return act


DENIED: dict[str, dict[str, Act]] = {
    "provisioning-worker": {
        "have a queue of another name": declare("worker.own"),
        "read what belongs to others": consume("crm.results"),
        "take others' messages away": purge("crm.results"),
        "hear the results": bind("provisioning.dead", "provisioning.results"),
        "publish where it has no business": publish("amq.topic"),
        "delete what is not its own": delete("crm.results"),
    },
    "crm": {
        "read commands, with the passwords in them": consume("provisioning.commands"),
        "read dead letters": consume("provisioning.dead"),
        "copy commands into a queue of its own": bind("crm.results", "provisioning.commands"),
        "hear the audit events": bind("crm.results", "provisioning.audit"),
        "throw commands away": purge("provisioning.commands"),
        "delete the commands' queue": delete("provisioning.commands"),
        "delete the results' exchange": delete_exchange("provisioning.results"),
        "have a queue of the worker's name": declare("provisioning.other"),
        "forge a result": publish("provisioning.results"),
        "forge an audit event": publish("provisioning.audit"),
        "put something into any queue": publish("amq.default"),
    },
    "operator": {
        "read commands": consume("provisioning.commands"),
        "have a queue that stays": declare("operator.own"),
        "forge a result": publish("provisioning.results"),
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def laid_out(broker: Broker) -> Broker:
    """With the worker's queues and a sender's, so that what is denied is there."""
    from worker.broker.link import address
    from worker.broker.topology import declare as topology

    await topology(address(broker.of["provisioning-worker"]))
    async with await aio_pika.connect(broker.of["crm"]) as connection:
        queue = await (await connection.channel()).declare_queue("crm.results", durable=True)
        await queue.bind("provisioning.results", "#")
    return broker


@pytest.mark.parametrize(
    ("account", "what"), [(account, what) for account, acts in DENIED.items() for what in acts]
)
async def test_an_account_may_not(account: str, what: str, laid_out: Broker) -> None:
    async with await aio_pika.connect(laid_out.of[account]) as connection:
        channel = await connection.channel(publisher_confirms=True)
        with pytest.raises(ChannelAccessRefused):
            await DENIED[account][what](channel)


async def test_no_account_reaches_another_virtual_host(laid_out: Broker, rabbit: PrivateRabbit) -> None:
    for url in laid_out.of.values():
        with pytest.raises(AMQPError):
            await aio_pika.connect(url.rsplit("/", 1)[0] + "/")


STATEMENTS = {
    "make a table": "CREATE TABLE intruder (a int)",
    "make a temporary table": "CREATE TEMPORARY TABLE intruder (a int)",
    "make a schema": "CREATE SCHEMA intruder",
    "make a function": "CREATE FUNCTION intruder() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "change a table": "ALTER TABLE commands ADD COLUMN intruder int",
    "drop a table": "DROP TABLE audit",
    "empty a table": "TRUNCATE audit",
    "switch a table's triggers off": "ALTER TABLE audit DISABLE TRIGGER ALL",
    "set the counter back": "SELECT setval('arrivals', 1)",
    "become the owner": "SET ROLE {owner}",
    "give rights away": "CREATE ROLE intruder",
    "read passwords": "SELECT rolpassword FROM pg_authid",
    "read files": "SELECT pg_read_file('postgresql.conf')",
    "run programs": "COPY commands TO PROGRAM 'cat'",
}


async def test_the_workers_role_may_read_and_write_rows_and_nothing_else(
    database: Database, broker: Broker, tmp_path: Path
) -> None:
    async with Workers(tmp_path, broker.everything, {}, journal=database.worker) as workers:
        await upgrade(workers, database)
    connection = await asyncpg.connect(database.worker)
    try:
        owner = f"provisioning_owner{database.name.removeprefix('provisioning')}"
        for what, statement in STATEMENTS.items():
            try:
                await connection.execute(statement.format(owner=owner))
            except asyncpg.InsufficientPrivilegeError:
                continue
            pytest.fail(f"it may {what}")
        assert await connection.fetchval("SELECT count(*) FROM commands") == 0
        owned = "SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) = current_user"
        assert await connection.fetchval(owned) == 0
    finally:
        await connection.close()


async def test_a_role_that_may_not_make_tables_is_told_so_at_the_start(
    database: Database, broker: Broker, tmp_path: Path
) -> None:
    """The database is empty: the owner has not made the tables yet."""
    own = broker.of["provisioning-worker"]
    async with Workers(tmp_path, own, {}, journal=database.worker) as workers:
        ended = await workers.worker("run")
        assert ended.code != 0
        assert "may not make tables" in ended.err, ended.err
        await upgrade(workers, database)
        await workers.start()
