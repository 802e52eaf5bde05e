"""What every test may use: the private services, and the rule that nothing skips in CI."""

from __future__ import annotations

import signal

from tests.services.no_skips import pytest_make_collect_report, pytest_runtest_makereport
from tests.services.private import (
    dedicated_mariadb,
    dedicated_postgres,
    dedicated_rabbit,
    mariadb,
    postgres,
    postgres_url,
    rabbit,
    rabbit_url,
)

# Started in the background, a shell has us ignore Ctrl-C, and what we start would ignore it as well.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = [
    "dedicated_mariadb",
    "dedicated_postgres",
    "dedicated_rabbit",
    "mariadb",
    "postgres",
    "postgres_url",
    "pytest_make_collect_report",
    "pytest_runtest_makereport",
    "rabbit",
    "rabbit_url",
]
