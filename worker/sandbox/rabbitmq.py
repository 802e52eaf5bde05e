"""A private RabbitMQ node from the system's package, beside whatever else runs on the machine.

Own name, ports, epmd, cookie, HOME and data folder; loopback only; works as root and as anybody else.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from glob import glob
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.sandbox.ports import LOOPBACK, answers, free_ports
from worker.sandbox.processes import Child, Folder, Keeper, ServiceError, wait_until

_SCRIPTS = "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"
_START = 120.0  # seconds; six on an idle machine, nearly all of it CPU for loading code
_GRACE = 20.0  # seconds for a clean stop; one on an idle machine
_USER = "private"

# Reads an Erlang expression a line, evaluates it inside the broker, answers a line: ok or error, and value.
_CONSOLE = r"""
Loop = fun(Again) ->
    case io:get_line("") of
        Line when is_list(Line) ->
            Answer = try
                {ok, Tokens, _} = erl_scan:string(Line),
                {ok, Exprs} = erl_parse:parse_exprs(Tokens),
                case rpc:call(list_to_atom(os:getenv("PRIVATE_NODE")), erl_eval, exprs, [Exprs, []], 30000) of
                    {value, Value, _} -> {ok, Value};
                    Other -> {error, Other}
                end
            catch _:Reason -> {error, Reason}
            end,
            io:format("~0tp~n", [Answer]),
            Again(Again);
        _ -> halt()
    end
end,
Loop(Loop).
"""


def installed() -> bool:
    """Whether the server's programs are on this machine (package ``rabbitmq-server``)."""
    return bool(glob(f"{_SCRIPTS}/rabbitmq-server"))


class PrivateRabbit:
    """One node. ``with PrivateRabbit() as rabbit: connect(rabbit.url)``.

    ``folder``: where its data live; without it a temporary folder that `stop` removes.
    ``settings``: further lines of rabbitmq.conf, e.g. ``{"consumer_timeout": "10000"}`` (milliseconds).
    Ports, name and password stay the same through `restart` and `kill` and `start`.
    """

    def __init__(self, folder: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        if not installed():
            raise ServiceError(
                f"no RabbitMQ server in {_SCRIPTS}: install it with deploy/packages rabbitmq-server"
            )
        self._folder = Folder(folder, "private-rabbit-")
        self.folder = self._folder.path
        self.port, self._epmd_port, self._distribution_port = free_ports(3)
        self.node = f"rabbit-{secrets.token_hex(4)}@localhost"
        self.password = secrets.token_hex(12)
        self._settings = dict(settings or {})
        self._keeper = Keeper(self.folder if self._folder.ours else None)
        self._epmd: Child | None = None
        self._beam: Child | None = None
        self._console: Child | None = None
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """AMQP address of the virtual host "/", with user and password."""
        return self.url_of("/")

    def url_of(self, vhost: str) -> str:
        path = "" if vhost == "/" else vhost
        return f"amqp://{_USER}:{self.password}@{LOOPBACK}:{self.port}/{path}"

    @property
    def pid(self) -> int | None:
        """Process number of the node, where it runs."""
        return self._beam.pid if self._beam is not None and self._beam.running else None

    def start(self) -> None:
        """Start the node and wait until it speaks AMQP. Raises `ServiceError` with the end of its log."""
        if self.pid is not None:
            return
        try:
            self._write_files()
            self._start_epmd()
            self._start_beam()
        except BaseException:  # a Ctrl-C while it starts leaves nothing behind either
            self.stop()
            raise

    def stop(self) -> None:
        """Stop cleanly, epmd last; remove the folder if it is a temporary one."""
        self._end_node(_GRACE)
        if self._epmd is not None:
            self._end(self._epmd, grace=2)
            self._epmd = None
        self._keeper.close()
        self._folder.remove()

    def kill(self) -> None:
        """The node dies at once (SIGKILL); `start` brings it back with its data."""
        if self.pid is not None:
            self._write_down_young_queues()
        self._end_node(grace=0)

    def restart(self) -> None:
        """A clean stop and a start, on the same ports and data."""
        self._end_node(_GRACE)
        self.start()

    def ctl(self, *words: str, timeout: float = 60) -> str:
        """Run rabbitmqctl against this node (half a second of CPU a call) and return its output."""
        if self._epmd is None or not self._epmd.running:  # the tool would start one that nobody ends
            raise ServiceError(f"rabbitmqctl {words[0]}: the node was never started, or is stopped")
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            [str(_script("rabbitmqctl")), "--quiet", *words],
            env=self._environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise ServiceError(f"rabbitmqctl {words[0]} failed with {done.returncode}: {done.stdout.strip()}")
        return done.stdout

    def evaluate(self, expression: str) -> str:
        """Evaluate an Erlang expression inside the broker, in milliseconds: ``"1 + 1."`` gives ``"2"``.

        Raises `ServiceError` where it fails, or takes more than 30 seconds.
        """
        with self._one_at_a_time:
            console = self._talk()
            answer = console.ask(" ".join(expression.split()))
        if answer.startswith("{ok,"):
            return answer.removeprefix("{ok,").removesuffix("}")
        raise ServiceError(f"the broker refused {expression!r}: {answer or console.last_words()}")

    def add_vhost(self, name: str) -> str:
        """A fresh virtual host (about 20 ms); returns its address."""
        self.evaluate(
            f'ok = rabbit_vhost:add(<<"{name}">>, <<"sandbox">>),'
            f' ok = rabbit_auth_backend_internal:set_permissions(<<"{_USER}">>, <<"{name}">>,'
            ' <<".*">>, <<".*">>, <<".*">>, <<"sandbox">>).'
        )
        return self.url_of(name)

    def remove_vhost(self, name: str) -> None:
        """With its queues; connections to it are closed."""
        self.evaluate(f'rabbit_vhost:delete(<<"{name}">>, <<"sandbox">>).')

    def close_connections(self, vhost: str | None = None, reason: str = "closed by the sandbox") -> None:
        """Close every client's connection (to ``vhost``, if given) the way an operator would."""
        ours = "true" if vhost is None else f'[{{vhost, <<"{vhost}">>}}] =:= Info(P)'
        self.evaluate(
            # One that closes by itself meanwhile is no error.
            "Info = fun(P) -> try rabbit_networking:connection_info(P, [vhost]) catch _:_ -> gone end end,"
            f' [catch rabbit_networking:close_connection(P, "{reason}")'
            f" || P <- rabbit_networking:connections_local(), {ours}]."
        )

    def raise_memory_alarm(self) -> None:
        """Publishers are blocked until `clear_memory_alarm`."""
        self.evaluate("vm_memory_monitor:set_vm_memory_high_watermark(0.000001).")

    def clear_memory_alarm(self) -> None:
        self.evaluate("vm_memory_monitor:set_vm_memory_high_watermark(0.6).")

    def _write_down_young_queues(self) -> None:
        """RabbitMQ 3.10 notes new quorum queues on disk up to a second late; one that it forgets never gets a
        leader again. That is its fault, not what a test of a client is about."""
        with suppress(ServiceError):
            self.evaluate("[dets:sync(T) || T <- dets:all()].")

    def _talk(self) -> Child:
        if self._console is None or not self._console.running:
            self._end_console()
            here = f"{{{LOOPBACK.replace('.', ',')}}}"
            words = (
                "erl",
                "+S",
                "1:1",
                "+A",
                "1",
                "-noshell",
                "-hidden",
                "-kernel",
                "inet_dist_use_interface",
                here,
            )
            name = f"console-{secrets.token_hex(4)}@localhost"
            self._console = self._spawn(
                "console", *words, "-start_epmd", "false", "-sname", name, "-eval", _CONSOLE, talks=True
            )
        return self._console

    def _start_epmd(self) -> None:
        """Ours before the node's: a node that finds none starts one that would outlive it."""
        if self._epmd is not None and self._epmd.running:
            return
        self._epmd = self._spawn("epmd", "epmd", "-port", str(self._epmd_port), "-address", LOOPBACK)
        self._await(self._epmd, lambda: answers(self._epmd_port))

    def _start_beam(self) -> None:
        self._beam = self._spawn("rabbitmq", str(_script("rabbitmq-server")))
        self._await(self._beam, lambda: _speaks_amqp(self.port))

    def _spawn(self, name: str, *words: str, talks: bool = False) -> Child:
        log = self.folder / "log" / f"{name}.out"
        return self._keeper.spawn(name, words, env=self._environment(), cwd=self.folder, log=log, talks=talks)

    def _await(self, child: Child, ready: Callable[[], bool]) -> None:
        wait_until(lambda: not child.running or ready(), _START)
        if not child.running or not ready():
            raise ServiceError(f"{child.name} did not come up within {_START:.0f} s:\n{child.last_words()}")

    def _end_node(self, grace: float) -> None:
        self._end_console()
        if self._beam is not None:
            self._end(self._beam, grace)
            self._beam = None

    def _end_console(self) -> None:
        if self._console is not None:
            self._end(self._console, grace=0)
            self._console = None

    def _end(self, child: Child, grace: float) -> None:
        if grace > 0:
            child.end(grace)
        else:
            child.kill()
        self._keeper.forget(child)

    def _write_files(self) -> None:
        for name in ("home", "log", "conf.d"):
            (self.folder / name).mkdir(exist_ok=True)
        cookie = self.folder / "home" / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(secrets.token_hex(16))
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "environment").touch()
        lines = {
            "listeners.tcp.1": f"{LOOPBACK}:{self.port}",
            "default_user": _USER,
            "default_pass": self.password,
            "disk_free_limit.absolute": "20MB",
            "log.console": "false",
            **self._settings,
        }
        (self.folder / "rabbitmq.conf").write_text(
            "".join(f"{key} = {value}\n" for key, value in lines.items())
        )

    def _environment(self) -> dict[str, str]:
        """Ours, without what would lead the node or its tools to somebody else's files or node."""
        foreign = ("RABBITMQ_", "ERL_", "XDG_", "NOTIFY_SOCKET")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        return {**kept, **self._places(), **self._manners()}

    def _places(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder / "home"),
            "RABBITMQ_NODENAME": self.node,
            "PRIVATE_NODE": self.node,
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "environment"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_CONFIG_FILES": str(self.folder / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "ERL_CRASH_DUMP": str(self.folder / "log" / "erl_crash.dump"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
        }

    def _manners(self) -> dict[str, str]:
        here = f"{{{LOOPBACK.replace('.', ',')}}}"
        return {
            "LANG": "C.UTF-8",
            # The server's script then becomes the node itself, so that the process we signal is the node.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+S 2:2 +A 4 -kernel inet_dist_use_interface {here}",
            "RABBITMQ_CTL_ERL_ARGS": f"+S 1:1 -kernel inet_dist_use_interface {here}",
        }


def _script(name: str) -> Path:
    """The package's own script: the one on the PATH changes to the user rabbitmq, or refuses."""
    return Path(sorted(glob(f"{_SCRIPTS}/{name}"))[-1])


def _speaks_amqp(port: int) -> bool:
    """Whether the broker answers our greeting with a method frame (Connection.Start)."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
