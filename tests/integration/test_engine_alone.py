"""Rule 1 and P5: a command over which two processes died runs alone, and what waits for a low rate is not in its way."""

from __future__ import annotations

from tests.support.engine import PATIENT, PLATFORM, Stand, any_journal, eventually, stand, templates

__all__ = ["stand", "templates"]

OTHER = "sip-other"


async def died(stand: Stand, name: str, platform: str, times: int) -> None:
    """As if so many processes had died right after they had claimed it."""
    for number in range(times):

        async def claimed(number: int = number) -> bool:
            claims = await stand.journal.claim(platform, f"dead-{number}", 1, 0.01)
            return [claim.message_id for claim in claims] == [name]

        async def rescued() -> bool:
            """By us, or by the engine."""
            await stand.journal.rescue()
            return bool((await stand.row(name))["state"] == "waiting")

        await eventually(claimed)
        await eventually(rescued)


@any_journal
async def test_p5_a_rate_that_is_low_on_one_platform_holds_up_nobody_who_must_run_alone(stand: Stand) -> None:
    """Turns on the first are a hundred seconds apart, and its three that wait for one are in nobody's way."""
    users = ["a", "b", "c"]
    stand.seed("killer", "d", *users)
    killer = await stand.send("credit.get", "killer", platform=OTHER)
    await died(stand, killer, OTHER, 2)
    await stand.start_for([await stand.platform(stand.sim, name, **PATIENT) for name in (PLATFORM, OTHER)])
    assert (await stand.ended(killer))["state"] == "succeeded"
    line = stand.engine.lines[PLATFORM]
    await stand.journal.lower(PLATFORM, 0.01, "op", "it is slow")
    await eventually(lambda: line.rate == 0.01)
    await stand.admit(*(stand.order("credit.get", user, id=f"slow-{user}") for user in users))
    await eventually(lambda: len(line._rate._line) >= 1, what="somebody waits for a turn")
    await stand.journal.pause(OTHER, "op", "to prepare")
    await eventually(lambda: stand.engine.lines[OTHER].closed, what="the engine knows of the pause")
    second = await stand.send("credit.get", "killer", platform=OTHER)
    await died(stand, second, OTHER, 2)
    await stand.journal.resume(OTHER, "op", "prepared")
    assert (await stand.ended(second))["state"] == "succeeded"
    other = await stand.send("credit.get", "d", platform=OTHER)
    assert (await stand.ended(other))["state"] == "succeeded"
    waiting = [await stand.row(f"slow-{user}") for user in users]
    assert any(row["finished_at"] is None for row in waiting), "their turn is still far away"
    await stand.journal.restore(PLATFORM, "op", "it is well")
    for user in users:
        assert (await stand.ended(f"slow-{user}"))["state"] == "succeeded"
