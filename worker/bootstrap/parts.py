"""What runs in this process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from worker.bootstrap.stored import StartError
from worker.journal.journal import StoredJournal
from worker.settings import Settings
from worker.telemetry import Telemetry

if TYPE_CHECKING:  # each is imported by the role that needs it
    from worker.broker.dead import DeadLetters
    from worker.broker.intake import Intake
    from worker.broker.link import Address
    from worker.broker.relay import Relay
    from worker.console.server import Console
    from worker.engine.engine import Engine


@dataclass(slots=True)
class Worker:
    """Everything that runs in this process. What its roles do not need is None or empty."""

    settings: Settings
    roles: frozenset[str]
    owner: str
    journal: StoredJournal
    telemetry: Telemetry
    engine: Engine | None = None
    relay: Relay | None = None
    intakes: list[Intake] = field(default_factory=list)
    dead: DeadLetters | None = None
    console: Console | None = None
    phase: Literal["starting", "running", "stopping"] = "starting"


def broker_address(settings: Settings) -> Address:
    """Raises StartError where the file of authorities cannot be read."""
    from worker.broker.link import address

    ca = str(settings.broker.ca) if settings.broker.ca else None
    try:
        return address(settings.broker.url.get_secret_value(), ca, settings.broker.heartbeat)
    except OSError as error:
        raise StartError(f"broker.ca: {ca} cannot be used: {error.strerror or error}") from None
