"""A RingMe platform on its simulator, for tests of the adapter: `begin` starts both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from worker.domain.evidence import Reading
from worker.messages.errors import Problem
from worker.platforms.port import Memory, Order, Passing, Reply, Step
from worker.platforms.ringme import RingmePlatform, build
from worker.platforms.transport import NO_GUARD
from worker.settings.ringme import RingmeSettings
from worker.simulators.ringme import Simulator, SimulatorConfig, serve

PLATFORM = "ringme-ru"
SECRET = "app-s3cret&of ü"
CLIENT = {"client_id": 12}
EXTENSION = {"client_id": 12, "extension_id": 345}
OF_345 = {"id": 345, "name": "0001*101", "label": "Reception", "status": "active", "password": "pw-of-101"}


@dataclass(slots=True)
class Bench:
    """`sim`: the platform as it is; `platform`: as the worker sees it."""

    sim: Simulator
    platform: RingmePlatform
    memory: Memory

    def plan(self, command: str, **data: Any) -> tuple[Step, ...] | Problem:
        return self.platform.plan(Order("order-1", f"{command}.v1", {"platform": PLATFORM, **data}))

    def steps(self, command: str, **data: Any) -> tuple[Step, ...]:
        steps = self.plan(command, **data)
        assert not isinstance(steps, Problem), steps
        return steps

    def problem(self, command: str, **data: Any) -> Problem:
        problem = self.plan(command, **data)
        assert isinstance(problem, Problem), problem
        return problem

    async def run(self, command: str, **data: Any) -> list[Reply]:
        return [await self.platform.call(step, NO_GUARD) for step in self.steps(command, **data)]

    async def outcome(self, command: str, **data: Any) -> Any:
        return (await self.run(command, **data))[-1].outcome

    async def reading(self, command: str, **data: Any) -> Reading:
        found = await self.platform.look(self.steps(command, **data)[0], None)
        assert isinstance(found, Reading), found
        return found

    def received(self, operation: str) -> int:
        return self.sim.platform.ledger.operations[operation].received

    def record(self, client: int = 12) -> dict[str, Any]:
        return self.sim.platform.clients[client].record

    def extension(self, id_: int = 345) -> dict[str, Any]:
        return self.sim.platform.extensions[id_].record


Begin = Callable[..., Awaitable[Bench]]


@asynccontextmanager
async def benches() -> AsyncIterator[Begin]:
    async with AsyncExitStack() as stack:

        async def begin(simulator: dict[str, Any] | None = None, **given: Any) -> Bench:
            usual: dict[str, Any] = {"app_secret": SECRET, "extensions": [OF_345]}
            sim = await serve(0, config=SimulatorConfig.from_values({**usual, **(simulator or {})}))
            stack.push_async_callback(sim.close)
            memory = given.pop("memory", None) or Passing()
            settings = {"kind": "ringme", "url": sim.url, "app_id": "app", "app_secret": SECRET,
                        "undocumented": True, "timeout": 2.0, **given}  # fmt: skip
            platform = await build(PLATFORM, RingmeSettings(**settings), memory)
            stack.push_async_callback(platform.close)
            return Bench(sim, platform, memory)

        yield begin
