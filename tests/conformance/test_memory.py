"""What an adapter remembers of an object outlives the process and the commands, until it lets go of it."""

from __future__ import annotations

from worker.journal.memory import JournalMemory

CLIENT = "client:12"


async def test_what_was_remembered_is_there_after_a_restart(place):
    await JournalMemory(await place.open(), "ringme-ru").remember(CLIENT, "dial_rule_id", "19")
    await place.close()
    assert await JournalMemory(await place.open(), "ringme-ru").recall(CLIENT, "dial_rule_id") == "19"


async def test_the_last_word_counts_and_can_be_forgotten(journal):
    memory = JournalMemory(journal, "ringme-ru")
    await memory.remember(CLIENT, "dial_rule_id", "19")
    await memory.remember(CLIENT, "dial_rule_id", "23")
    assert await memory.recall(CLIENT, "dial_rule_id") == "23"
    await memory.forget(CLIENT, "dial_rule_id")
    assert await memory.recall(CLIENT, "dial_rule_id") is None


async def test_platforms_and_objects_do_not_share_what_they_remember(journal):
    await JournalMemory(journal, "one").remember(CLIENT, "dial_rule_id", "19")
    assert await JournalMemory(journal, "two").recall(CLIENT, "dial_rule_id") is None
    assert await JournalMemory(journal, "one").recall("client:13", "dial_rule_id") is None
