"""The bench of each database."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.machines.bench import Bench


@pytest.fixture
def fast_folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: thousands of commits, and nobody pulls the plug."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture(params=["sqlite", "postgres"])
def bench(request: pytest.FixtureRequest, fast_folder: Path) -> Iterator[Bench]:
    """Its journal is emptied for each example; making one anew would take longer than the example."""
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres_url")
    else:
        url = f"sqlite:///{fast_folder}/worker.db"
    with Bench(url).opened() as made:
        yield made
