"""A fault that nobody thought of: a clear page and a clear answer, with the headers, and no word of its cause."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.support import Place
from tests.support.console import Front, said


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    place = Place(f"sqlite:///{tmp_path}/worker.db")
    async with Front(place.url, await place.open()) as it:
        yield it
    await place.close()


async def broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError("a secret of the inside")


async def test_a_broken_page_says_so_and_shows_nothing_of_the_inside(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    olga, program = await front.person("olga", "operator"), await front.token("crm", "viewer")
    monkeypatch.setattr(front.journal, "overview", broken)
    monkeypatch.setattr(front.journal, "page", broken)
    for path in ("/", "/commands"):
        answer = await olga.get(path)
        assert answer.status_code == 500
        assert "look before you repeat it" in said(answer)
        assert "Nothing was changed" not in answer.text
        assert "secret" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    answer = await program.get("/api/v1/commands")
    assert (answer.status_code, answer.json()["status"]) == (500, 500)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
