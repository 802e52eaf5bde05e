"""The private services: they work, they are private, they come back, and nothing of them stays behind."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import asyncpg
import pytest
from pamqp.common import FieldTable

from tests.services import children, machine
from tests.services.private import need_postgresql, need_rabbitmq
from tests.support.calls import calls_of
from worker.sandbox import packages, ports
from worker.sandbox.mariadb import PrivateMariaDb
from worker.sandbox.postgres import PrivatePostgres
from worker.sandbox.processes import ServiceError, wait_until
from worker.sandbox.rabbitmq import PrivateRabbit

ALONE = bool(os.environ.get("CI")) and "PYTEST_XDIST_WORKER" not in os.environ
"""Nobody else uses this machine: other tests beside this one start services of their own."""
QUORUM: FieldTable = {"x-queue-type": "quorum"}


def test_what_is_there_is_not_installed_again() -> None:
    said: list[str] = []
    assert packages.ensure("dpkg", say=said.append) == []
    assert said == []


def test_without_root_and_sudo_the_packages_to_install_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name: name if name == "apt-get" else None)
    with pytest.raises(
        packages.PackageError, match=r"needs root or sudo.*apt-get install .* no-such-package"
    ):
        packages.ensure("no-such-package")


def test_without_apt_the_packages_to_install_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(packages.PackageError, match=r"missing: no-such-package.*does not have"):
        packages.ensure("no-such-package")


def test_ports_are_different_and_outside_the_range_of_outgoing_connections() -> None:
    chosen = ports.free_ports(20)
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert len(set(chosen)) == 20
    assert max(chosen) < first or first < 12_000


async def put(url: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        await channel.declare_queue("orders", durable=True, arguments=QUORUM)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "orders")


async def take(url: str) -> bytes | None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("orders", durable=True, arguments=QUORUM)
        message = await queue.get(fail=False, timeout=60)  # its leader may still be being elected
        return None if message is None else message.body


async def test_each_test_gets_a_virtual_host_of_its_own(rabbit: PrivateRabbit, rabbit_url: str) -> None:
    name = f"neighbour-{secrets.token_hex(4)}"
    neighbour = rabbit.add_vhost(name)
    await put(rabbit_url, b"mine")
    assert await take(neighbour) is None
    assert await take(rabbit_url) == b"mine"
    rabbit.remove_vhost(name)


async def test_closing_the_connections_of_one_virtual_host_spares_the_others(
    rabbit: PrivateRabbit, rabbit_url: str
) -> None:
    ours = await aio_pika.connect(rabbit_url)
    theirs = await aio_pika.connect(rabbit.url)
    gone = asyncio.Event()
    ours.close_callbacks.add(lambda *_: gone.set())
    rabbit.close_connections(rabbit_url.rpartition("/")[2])
    await asyncio.wait_for(gone.wait(), 30)
    await theirs.channel()
    await theirs.close()


def test_the_broker_answers_expressions_and_says_what_is_wrong_with_them(rabbit: PrivateRabbit) -> None:
    assert rabbit.evaluate("1 + 1.") == "2"
    assert "/" in rabbit.ctl("list_vhosts").splitlines()
    with pytest.raises(ServiceError, match="undef"):
        rabbit.evaluate("nothing:here().")
    with pytest.raises(ServiceError, match="no_such_command"):
        rabbit.ctl("no_such_command")


def test_every_port_of_the_broker_is_on_the_loopback_interface(rabbit: PrivateRabbit) -> None:
    owners = machine.take()
    ours = {str(rabbit.port), str(rabbit._epmd_port), str(rabbit._distribution_port)}
    addresses = {a.rpartition(":")[0] for a in owners.listeners.values() if a.rpartition(":")[2] in ours}
    assert addresses == {"0100007F", "00000000000000000000000001000000"}


@pytest.fixture(scope="module")
def sturdy_rabbit() -> Iterator[PrivateRabbit]:
    """One node for the tests of this file that hurt it; each leaves it running."""
    need_rabbitmq()
    with PrivateRabbit(settings={"consumer_timeout": "900000"}) as node:
        yield node


async def test_a_killed_broker_comes_back_under_the_same_address_with_its_messages(
    sturdy_rabbit: PrivateRabbit,
) -> None:
    url = sturdy_rabbit.add_vhost("killed")
    await put(url, b"kept")
    sturdy_rabbit.kill()
    assert not ports.answers(sturdy_rabbit.port)
    await asyncio.to_thread(sturdy_rabbit.start)
    assert await take(url) == b"kept"


async def test_a_restarted_broker_keeps_its_messages(sturdy_rabbit: PrivateRabbit) -> None:
    url = sturdy_rabbit.add_vhost("restarted")
    await put(url, b"kept")
    before = sturdy_rabbit.pid
    await asyncio.to_thread(sturdy_rabbit.restart)
    assert sturdy_rabbit.pid != before
    assert await take(url) == b"kept"


async def test_a_memory_alarm_holds_publishers_until_it_is_cleared(sturdy_rabbit: PrivateRabbit) -> None:
    sturdy_rabbit.raise_memory_alarm()
    publishing = asyncio.create_task(put(sturdy_rabbit.url, b"held"))
    done, _ = await asyncio.wait([publishing], timeout=1)  # the wait is the fact: it does not get through
    assert not done
    sturdy_rabbit.clear_memory_alarm()
    await asyncio.wait_for(publishing, 30)
    assert await take(sturdy_rabbit.url) == b"held"


def test_settings_reach_the_broker(sturdy_rabbit: PrivateRabbit) -> None:
    assert sturdy_rabbit.evaluate("application:get_env(rabbit, consumer_timeout).") == "{ok,900000}"


async def test_each_test_gets_a_database_of_its_own(postgres: PrivatePostgres, postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE orders (id int)")
    await connection.close()
    name = f"neighbour_{secrets.token_hex(4)}"
    neighbour = await asyncpg.connect(postgres.create_database(name))
    assert await neighbour.fetchval("SELECT to_regclass('orders')") is None
    assert await neighbour.fetchval("SHOW synchronous_commit") == "on"
    assert int(await neighbour.fetchval("SHOW max_connections")) == 200
    postgres.drop_database(name)  # with a session in it
    await neighbour.close()


async def test_a_killed_database_comes_back_with_what_was_committed(
    dedicated_postgres: PrivatePostgres,
) -> None:
    url = dedicated_postgres.create_database("orders")
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE orders (id int)")
    await connection.execute("INSERT INTO orders VALUES (7)")
    dedicated_postgres.kill()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT 1")
    await asyncio.to_thread(dedicated_postgres.start)
    again = await asyncpg.connect(url)
    assert await again.fetchval("SELECT id FROM orders") == 7
    await asyncio.to_thread(dedicated_postgres.restart)  # cuts the session
    last = await asyncpg.connect(url)
    assert await last.fetchval("SELECT id FROM orders") == 7
    await last.close()


def test_a_killed_mariadb_comes_back_with_what_was_committed(dedicated_mariadb: PrivateMariaDb) -> None:
    with calls_of(dedicated_mariadb) as calls:
        calls.call(price="0.35")
        before = dedicated_mariadb.pid
        dedicated_mariadb.kill()
        assert not ports.answers(dedicated_mariadb.port)
        dedicated_mariadb.start()
        assert dedicated_mariadb.pid != before
        assert calls.run("SELECT price FROM vi_cdrs") == ((0.35,),)
        assert calls.run("SELECT @@bind_address, @@datadir") == (
            ("127.0.0.1", f"{dedicated_mariadb.folder / 'data'}/"),
        )


def test_a_mariadb_leaves_neither_process_nor_folder_nor_listener(dedicated_mariadb: PrivateMariaDb) -> None:
    pid, folder = dedicated_mariadb.pid, dedicated_mariadb.folder
    dedicated_mariadb.stop()
    assert pid is not None
    assert not Path(f"/proc/{pid}").exists()
    assert not folder.exists()
    assert not ports.answers(dedicated_mariadb.port)


def test_a_database_whose_port_was_taken_meanwhile_comes_up_on_another_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        one = PrivatePostgres()
        one.port = taken.getsockname()[1]
        with one:
            assert one.execute("SELECT 1") == "1"
            assert one.port != taken.getsockname()[1]


def test_the_database_says_what_is_wrong_with_a_statement(postgres: PrivatePostgres) -> None:
    with pytest.raises(ServiceError, match="syntax error"):
        postgres.execute("SELEKT")


SERVICES = """
    import time
    from worker.sandbox.postgres import PrivatePostgres
    from worker.sandbox.rabbitmq import PrivateRabbit

    with PrivateRabbit() as rabbit, PrivatePostgres() as postgres:
        rabbit.add_vhost("some")
        print(rabbit.folder, postgres.folder, flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize(
    "killer",
    [
        pytest.param(signal.SIGINT, id="a Ctrl-C"),
        pytest.param(signal.SIGKILL, id="the death of the parent"),
    ],
)
def test_nothing_stays_behind_after(killer: signal.Signals, tmp_path: Path) -> None:
    need_rabbitmq()
    need_postgresql()
    before, mark = machine.take(), secrets.token_hex(8)
    parent = children.start(SERVICES, mark, tmp_path)
    assert parent.stdout is not None
    line = parent.stdout.readline()
    folders = [Path(word) for word in line.split()]
    assert len(folders) == 2, line + parent.stdout.read()
    assert len(machine.marked_processes(mark)) > 5  # the belief below is about something
    os.killpg(parent.pid, killer)
    parent.wait(60)
    parent.stdout.close()
    gone = wait_until(lambda: not machine.marked_processes(mark) and not any(map(Path.exists, folders)), 60)
    assert gone, (machine.marked_processes(mark), folders)
    assert machine.left_behind(before, machine.take(), mark, everything=ALONE) == []


def test_an_ordinary_user_runs_them_too() -> None:
    need_rabbitmq()
    need_postgresql()
    with tempfile.TemporaryDirectory(prefix="ordinary-user-") as folder:
        done = children.run_as_ordinary_user(
            """
            import os
            from worker.sandbox.postgres import PrivatePostgres
            from worker.sandbox.rabbitmq import PrivateRabbit

            with PrivateRabbit() as rabbit, PrivatePostgres() as postgres:
                rabbit.add_vhost("some")
                rabbit.ctl("list_queues")
                print(os.geteuid() != 0, postgres.execute("SELECT 6 * 7"))
            """,
            Path(folder),
        )
        assert done.stdout.strip() == "True 42"
        assert sorted(os.listdir(folder)) == ["worker"]
