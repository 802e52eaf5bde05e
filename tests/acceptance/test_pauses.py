"""What people pause waits in its line, message in and message out, and goes on when they say so."""

from __future__ import annotations

import pytest

from tests.support.amqp import command, eventually
from tests.support.stage import MODULE, PLATFORM, Stage, about, staged

pytestmark = [MODULE, pytest.mark.timeout(300)]
stage = staged(settings={"events": {"notify_after": "2s"}})


async def test_each_stop_holds_back_what_it_names_and_nothing_else(stage: Stage) -> None:
    await stage.platform.subscribers(["joao", "maria"], balance="5.00")
    await stage.cli("platforms", "pause", "--command", "credit.get", "--reason", "a wrong price list")
    held = command("credit.get.v1", about("joao"))
    behind = command("calls.block.v1", about("joao"))
    free = command("calls.block.v1", about("maria"))
    await stage.send(held, behind, free)
    assert (await stage.ending(free["id"])).data["status"] == "succeeded"
    told = await stage.ending(held["id"], "delayed")
    assert told.data["state"] == "waiting"
    assert told.data["attempts"] == 0
    assert "credit.get is paused by" in told.data["reason"]
    assert "a wrong price list" in told.data["reason"]
    behind_it = await stage.ending(behind["id"], "delayed")
    assert "waits behind" in behind_it.data["reason"]
    shown = await stage.here("commands", "show", held["id"])
    assert "worker platforms resume --command credit.get" in shown.out
    await stage.cli("platforms", "resume", "--command", "credit.get", "--reason", "put right")
    assert (await stage.ending(held["id"])).data["status"] == "succeeded"
    assert (await stage.ending(behind["id"])).data["status"] == "succeeded"


async def test_everything_stands_still_while_intake_admits(stage: Stage) -> None:
    await stage.platform.subscribers(["ana"], balance="5.00")
    await stage.cli("platforms", "pause", "--all", "--reason", "the data centre moves")

    async def stopped() -> bool:
        return (await stage.figures())[
            f'worker_platform_stopped{{platform="{PLATFORM}",why="paused"}}'
        ] == 1.0

    await eventually(stopped, 30, 0.1, "the engine knows")
    sent = command("calls.block.v1", about("ana"))
    await stage.send(sent)
    told = await stage.ending(sent["id"], "delayed")
    assert "everything is paused by" in told.data["reason"]
    assert told.data["attempts"] == 0
    await stage.cli("platforms", "resume", "--all", "--reason", "it moved")
    assert (await stage.ending(sent["id"])).data["status"] == "succeeded"
