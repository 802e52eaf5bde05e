"""What every test may use: the private services, and the rule that nothing skips in CI."""

from __future__ import annotations

from tests.services.no_skips import pytest_make_collect_report, pytest_runtest_makereport
from tests.services.private import (
    dedicated_postgres,
    dedicated_rabbit,
    postgres,
    postgres_url,
    rabbit,
    rabbit_url,
)

__all__ = [
    "dedicated_postgres",
    "dedicated_rabbit",
    "postgres",
    "postgres_url",
    "pytest_make_collect_report",
    "pytest_runtest_makereport",
    "rabbit",
    "rabbit_url",
]
