"""`call_records.list`: the call history, page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worker.domain.outcome import Done, Exchange, Unclear
from worker.platforms.port import Reply, Rows
from worker.platforms.rest import Answered, Client, RestStep
from worker.platforms.rest.answers import plain

MOST_PAGES = 100_000
OURS = frozenset({"kind", "limit"})  # params that the platform does not know


class History:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def read(self, step: RestStep, rows: Rows) -> Reply:
        """All pages to `rows`; see the platform port's `read_rows`.

        How the history ends nobody says: an empty page ends it, one that repeats the page before, and one that is
        shorter than was asked for is followed by another question all the same.
        """
        asked = {name: value for name, value in step.params.items() if name not in OURS}
        left, seconds, before = int(step.params["limit"]), 0, frozenset[str]()
        for page in range(1, MOST_PAGES):
            heard = await self._client.call(step.operation, {**asked, "page": page})
            if not isinstance(heard.what, Answered):
                return Reply(heard.what, heard.exchange)
            calls = calls_in(heard.what.value)
            if calls is None:
                return Reply(Unclear("garbage"), heard.exchange)
            names = frozenset(str(call.get("call_uuid")) for call in calls)
            fresh = [call for call in calls if str(call.get("call_uuid")) not in before]
            if not fresh:
                return _done(heard.exchange, seconds, step, truncated=False)
            wanted = [call for call in fresh if is_completed(call) == (step.params["kind"] == "completed")]
            seconds += sum(duration_of(call) for call in wanted[:left])
            await rows.add([plain(dict(call)) for call in wanted[:left]])
            if len(wanted) > left:
                return _done(heard.exchange, seconds, step, truncated=True)
            left, before = left - len(wanted), names
        return _done(heard.exchange, seconds, step, truncated=True)


def _done(exchange: Exchange, seconds: int, step: RestStep, *, truncated: bool) -> Reply:
    sums = {"seconds": seconds} if step.params["kind"] == "completed" else {}
    return Reply(Done({**sums, "truncated": truncated}), exchange)


def calls_in(value: Any) -> Sequence[Mapping[str, Any]] | None:
    found = value.get("call_history") if isinstance(value, Mapping) else None
    return None if not isinstance(found, list) else [call for call in found if isinstance(call, Mapping)]


def is_completed(call: Mapping[str, Any]) -> bool:
    """It was put through: only then there is a time at which it was."""
    return bool(call.get("bridged_time_gmt"))


def duration_of(call: Mapping[str, Any]) -> int:
    """Seconds of talk."""
    value = call.get("bridged_duration")
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
