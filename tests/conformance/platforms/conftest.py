"""Every platform in front of the same tests; no test asks which one it got."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.conformance.platforms import toy
from tests.conformance.platforms.bench import Bench
from tests.conformance.platforms.ringme_subject import Ringme
from tests.conformance.platforms.sippulse_subject import Sippulse
from tests.conformance.platforms.subject import Subject
from tests.conformance.platforms.toy_subject import Toy
from tests.conformance.platforms.voipmundo_subject import Voipmundo
from tests.support.engine import Templates, templates
from worker.platforms import build

__all__ = ["templates"]

SUBJECTS: tuple[Subject, ...] = (Sippulse(), Ringme(), Toy(), Voipmundo())


@pytest.fixture(scope="module", autouse=True)
def toy_is_known() -> Iterator[None]:
    """Added as a program around the worker would; gone again for the tests that follow in this process."""
    toy.add()
    yield
    build.unregister("toy")


@pytest.fixture(params=SUBJECTS, ids=lambda subject: subject.kind)
async def bench(request: pytest.FixtureRequest, tmp_path: Path, templates: Templates) -> AsyncIterator[Bench]:
    """A journal, and nothing else yet: the simulator and the engine are started by the test."""
    async with AsyncExitStack() as stack:
        made = Bench(await templates.sqlite(tmp_path / "worker.db"), stack)
        made.subject = request.param
        made.journal = await made.open()
        yield made
