"""Templates: what every page has, in the person's language."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from worker import __version__
from worker.console.door import LANGUAGE, form_mark, office_of, person_of
from worker.console.office import for_viewer, masked_key
from worker.console.texts import LANGUAGES, translated
from worker.journal.console.lists import divided
from worker.journal.console.people import Person

FOLDER = Path(__file__).parents[1]


@lru_cache(maxsize=1)
def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["moment"] = moment
    made.filters["ago"] = ago
    made.filters["divided"] = divided
    made.filters["short"] = lambda type: str(type).removesuffix(".v1")
    made.filters["pretty"] = lambda value: json.dumps(value, ensure_ascii=False, indent=2, default=str)
    made.filters["seconds"] = seconds
    made.globals["with_query"] = with_query
    return made


def moment(at: float | str | None) -> Markup | str:
    """A time, in seconds or as records hold it, in UTC; the page's script adds the local one."""
    if at is None:
        return "–"
    when = datetime.fromisoformat(at) if isinstance(at, str) else datetime.fromtimestamp(at, UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        when.isoformat().replace("+00:00", "Z"), when.strftime("%Y-%m-%d %H:%M:%S")
    )


def seconds(value: float | None) -> str:
    if value is None:
        return "–"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if value >= size:
            return f"{value / size:.1f} {unit}".replace(".0 ", " ")
    return f"{value:.0f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def ago(at: float | None, now: float) -> str:
    return "–" if at is None else seconds(max(now - at, 0))


def with_query(path: str, query: Mapping[str, Any], **changes: Any) -> str:
    merged = {name: value for name, value in {**query, **changes}.items() if value not in (None, "", False)}
    return f"{path}?{urlencode(merged)}" if merged else path


def language_of(request: Request) -> str:
    chosen = request.cookies.get(LANGUAGE)
    if chosen in LANGUAGES:
        return chosen
    asked = request.headers.get("accept-language", "").lower()
    return "pt" if asked.startswith("pt") else "en"


async def page(request: Request, name: str, status: int = 200, /, **context: Any) -> HTMLResponse:
    """`name`: of the template. Everything that a template shows is escaped."""
    language = language_of(request)
    person = await person_of(request)
    seen = await office_of(request).readiness.watch.seen(max_age=2.0) if person else None
    common = {
        "t": lambda text, **values: translated(language, text, **values),
        "language": language,
        "person": person,
        "csrf": form_mark(request) if person else "",
        "path": request.url.path,
        "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        "version": __version__,
        "stopped": [one for one in seen.platforms if one.held or one.paused_by or one.broken_since]
        if seen
        else [],
        "slowed": [one for one in seen.platforms if one.lowered_rate is not None] if seen else [],
        "pauses": seen.pauses if seen else (),
        "journal_error": seen.error if seen else None,
        "health": seen.health if seen else None,
        "now": datetime.now(UTC).timestamp(),
    }
    html = environment().get_template(name).render({**common, **context})
    return HTMLResponse(html, status)


def shown_to(person: Person, row: Mapping[str, Any]) -> dict[str, Any]:
    """Viewers see no personal data."""
    return dict(row) if person.may("operator") else for_viewer(row)


def key_for(person: Person, key: str) -> str:
    return key if person.may("operator") else masked_key(key)
