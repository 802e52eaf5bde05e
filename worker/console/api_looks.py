"""`/api/v1/overview` and `/api/v1/in-doubt`: what the pages of these names show, for other dashboards."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from worker.console.api import WRONG, Answer, Page
from worker.console.door import Desk, Somebody
from worker.console.office import Office
from worker.console.overview import Condition, overview
from worker.console.pages.orders import evidence
from worker.console.pages.render import shown_to
from worker.console.waiting import window_ends, window_open
from worker.journal.commands.acts import ActRefused
from worker.journal.console.lists import Wanted
from worker.journal.console.people import Person

router = APIRouter(prefix="/api/v1", responses=WRONG)
MOST = 20  # commands of one answer, each with its evidence
LOOKED = 100  # of each state


class Complaint(BaseModel):
    part: str
    level: str = Field(description="`error`: this process is not ready; `warning`: it is")
    text: str


class Slot(BaseModel):
    """Further fields may come; of the last hour `p50` and `p99`, seconds from arrival to end."""

    model_config = ConfigDict(extra="allow")

    at: float = Field(description="where it begins, in seconds since 1970")
    succeeded: int
    failed: int = Field(description="rejected or expired")


class Calls(BaseModel):
    count: int
    p50: float | None = Field(description="seconds")
    p99: float | None = Field(description="seconds")
    slow: int = Field(description="how many took more than half of `timeout`")
    timeout: float | None = Field(description="seconds; null where this process does not know the platform")


class PlatformLine(BaseModel):
    """Further fields may come: who stopped it, and why."""

    model_config = ConfigDict(extra="allow")

    name: str
    kind: str | None
    condition: Condition
    open: dict[str, int] = Field(description="by state; `failing`: those waiting that were tried and failed")
    rate: float = Field(description="commands that ended a minute, of the last five")
    share: float | None = Field(description="percent that succeeded in the last hour; null: none ended")
    p50: float | None = Field(description="seconds from arrival to end, in the newest minute that has some")
    p99: float | None = Field(description="as p50")
    calls: Calls = Field(description="of the last five minutes")
    hour: list[Slot] = Field(description="by minute, the oldest first; empty: nothing ended")
    day: list[Slot] = Field(description="by quarter of an hour")


class Overview(BaseModel):
    ready: bool
    wrong: list[Complaint] = Field(description="what needs a look; none where all is well")
    journal: dict[str, Any] | None = Field(description="what waits for whom; null: the journal did not say")
    oldest: Answer | None = Field(description="the command that is open longest")
    platforms: list[PlatformLine] = Field(description="the ill ones first")
    groups: list[Answer] = Field(description="failure groups of the last day, those that failed last first")


@router.get("/overview", summary="What is wrong, and how each platform fares")
async def whole(office: Desk, person: Somebody) -> Overview:
    return Overview.model_validate(await overview(office, person))


@router.get("/in-doubt", summary="Commands whose effect nobody knows, with what was read")
async def in_doubt(
    office: Desk, person: Somebody, before: Annotated[int | None, Query(ge=1, lt=1 << 62)] = None
) -> Page:
    """Newest first, those in doubt and those parked of unknown effect. Each as `/commands/{number}` shows it, with
    `evidence`: what was ordered (`data`), the arithmetic of two balances (`credit`), and what was read (`readings`);
    and `may_decide`: whether its settle window has ended, so that an operator may say what took effect."""
    numbers, more = await _numbers(office, before)
    rows = [one for number in numbers if (one := await _doubtful(office, person, number)) is not None]
    return Page(rows=[Answer(**one) for one in rows], more=more)


async def _numbers(office: Office, before: int | None) -> tuple[list[int], int | None]:
    """Of both states, newest first; and what the next answer begins before."""
    found: list[int] = []
    seen_down_to = 0  # below it, one of the lists was not read
    for state in ("in_doubt", "parked"):
        page = await office.journal.page(Wanted(state=state, before=before, limit=LOOKED, archived=True))
        found += [row["id"] for row in page.rows if row["effect"] == "unknown"]
        seen_down_to = max(seen_down_to, page.more or 0)
    found = sorted((one for one in found if one >= seen_down_to), reverse=True)
    if len(found) > MOST:
        return found[:MOST], found[MOST - 1]
    return found, seen_down_to or None


async def _doubtful(office: Office, person: Person, number: int) -> dict[str, Any] | None:
    try:
        found = await office.journal.command(f"#{number}")
    except ActRefused:
        return None  # purged between the two looks
    window = found["window"] | {"window_ends": window_ends(found, office.settles)}
    shown = shown_to(person, found | {"window": window})
    said = await evidence(office, person, shown)
    return shown | {"evidence": said, "may_decide": not window_open(found)}
