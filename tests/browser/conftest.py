"""One outpost for each file whose tests share it: `PLATFORMS` of the file says over which platforms."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.browser.outpost import Outpost
from worker.sandbox.rabbitmq import PrivateRabbit


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outpost(
    request: pytest.FixtureRequest, rabbit: PrivateRabbit, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Outpost]:
    name = request.module.__name__.rpartition("_")[2]
    host = f"{name}-{secrets.token_hex(4)}"
    url = rabbit.add_vhost(host)
    async with Outpost(tmp_path_factory.mktemp(name), url, request.module.PLATFORMS) as it:
        await it.people()
        yield it
    rabbit.remove_vhost(host)


@pytest_asyncio.fixture(loop_scope="module")
async def post(outpost: Outpost) -> AsyncIterator[Outpost]:
    yield outpost
    await outpost.simulator.heal()
    await outpost.tidy()
