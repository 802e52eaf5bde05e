"""Rows of a long answer become pages: numbered, bounded, the last one known, the same when sent again."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from worker.engine import pages as cut
from worker.engine.pages import NobodyTakes, Pages, Unsent
from worker.messages.errors import Code
from worker.messages.events import Event, View
from worker.messages.schemas import event_files
from worker.platforms.port import LeaseLost

VIEW = View(
    "order-1", "/crm", "call_records.list.v1", "order-1", "sip-br", "sip-br:x", reply_to="rows.of.crm"
)


class Sink:
    """A queue that answers as it is told; the last answer again and again."""

    def __init__(self, *answers: bool | None) -> None:
        self.answers, self.events = list(answers or (True,)), list[Event]()

    async def send(self, event: Event) -> bool | None:
        self.events.append(event)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def data(self) -> list[dict[str, Any]]:
        return [json.loads(event.body)["data"] for event in self.events]


async def alive() -> bool:
    return True


async def sent(rows: list[dict[str, Any]], sink: Sink | None = None) -> Sink:
    sink = sink or Sink()
    pages = Pages(VIEW, "/worker", sink, alive)
    await pages.add(rows)
    await pages.close()
    return sink


async def test_rows_leave_in_order_in_numbered_pages_and_only_the_last_says_so() -> None:
    sink = await sent([{"id": n} for n in range(2 * cut.ROWS + 1)])
    pages = sink.data()
    assert [page["page"] for page in pages] == [1, 2, 3]
    assert [page["last"] for page in pages] == [False, False, True]
    assert [row["id"] for page in pages for row in page["rows"]] == list(range(2 * cut.ROWS + 1))


async def test_exactly_one_page_of_rows_is_one_page() -> None:
    assert [page["last"] for page in (await sent([{"id": n} for n in range(cut.ROWS)])).data()] == [True]


async def test_no_rows_at_all_are_one_empty_last_page() -> None:
    [page] = (await sent([])).data()
    assert (page["rows"], page["page"], page["last"]) == ([], 1, True)


async def test_a_page_is_bounded_in_bytes_too() -> None:
    sink = await sent([{"text": "x" * 1000}] * 600)
    assert len(sink.events) > 1
    assert max(len(event.body) for event in sink.events) < cut.BYTES + 2000


async def test_every_page_is_as_the_contract_says() -> None:
    schema = event_files()["provisioning.command.page.v1.schema.json"]
    for event in (await sent([{"id": n} for n in range(cut.ROWS + 1)])).events:
        jsonschema.Draft202012Validator(schema).validate(json.loads(event.body))
        assert event.reply_to == "rows.of.crm"


async def test_a_page_sent_again_after_a_crash_is_the_same_event_and_a_changed_one_another() -> None:
    rows = [{"id": n} for n in range(cut.ROWS + 1)]
    first, again = await sent(rows), await sent(rows)
    assert [event.id for event in first.events] == [event.id for event in again.events]
    longer = await sent([*rows, {"id": "rated late"}])
    assert [event.id for event in longer.events[:1]] == [event.id for event in first.events[:1]]
    assert longer.events[1].id != first.events[1].id
    assert longer.data()[1]["page"] == first.data()[1]["page"]


async def test_a_queue_that_is_gone_half_way_ends_the_reading_and_says_how_far_it_came() -> None:
    with pytest.raises(NobodyTakes) as gone:
        await sent([{"id": n} for n in range(3 * cut.ROWS)], Sink(True, False))
    assert gone.value.problem.code is Code.NOT_FOUND
    assert gone.value.problem.field == "reply_to"
    assert "after 1 page" in gone.value.problem.message


async def test_a_page_that_is_not_confirmed_is_sent_again_as_the_same_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cut, "WAITS", (0.0, 0.0, 0.0))
    sink = await sent([{"id": 1}], Sink(None, None, True))
    assert len({event.id for event in sink.events}) == 1
    with pytest.raises(Unsent):
        await sent([{"id": 1}], Sink(None))


async def test_rule_5_4_who_has_lost_the_command_sends_nothing_more() -> None:
    sink, held = Sink(), [True, False]

    async def lapses() -> bool:
        return held.pop(0)

    pages = Pages(VIEW, "/worker", sink, lapses)
    await pages.add([{"id": 1}])
    with pytest.raises(LeaseLost):
        await pages.close()
    assert not sink.events


async def test_half_a_character_costs_no_other_row() -> None:
    [page] = (await sent([{"name": "a\ud800b"}, {"name": "whole"}])).data()
    assert page["rows"] == [{"name": "a?b"}, {"name": "whole"}]
