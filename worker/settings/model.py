"""Every setting with its default and its meaning: `docs/settings.md` is made from here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from worker.settings.oidc import OidcSettings
from worker.settings.platforms import AnyPlatform
from worker.settings.section import Section
from worker.settings.values import (
    DAY,
    Count,
    File,
    PlatformName,
    Seconds,
    Secret,
    Url,
    duration,
    scheme,
    without_password,
)


class WorkerSettings(Section):
    source: str = Field(
        default="/provisioning-worker",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="`source` of every event that the worker publishes, a URI reference",
    )
    name: str = Field(
        default="",
        max_length=80,
        description="name of this process in leases and logs; empty: host name and process id",
    )
    grace: Seconds = Field(
        default=25.0,
        description="how long a stop waits for calls under way; not below any platform's `timeout`",
    )
    poll: Seconds = Field(
        default=1.0, description="the slow look for work that lies under the wake-up signals of the journal"
    )


class BrokerSettings(Section):
    url: Annotated[Secret, scheme("amqp", "amqps")] = Field(
        default=SecretStr("amqp://guest:guest@127.0.0.1:5672/"),
        description="RabbitMQ, `amqp://` or `amqps://`",
    )
    ca: File | None = Field(
        default=None, description="file with the authorities that sign the broker's certificate"
    )
    prefetch: int = Field(
        default=500,
        ge=1,
        le=65535,
        description="messages held unacknowledged per command queue; the same in every process",
    )
    heartbeat: Seconds = Field(default=30.0, description="AMQP heartbeat")
    hold: Seconds = Field(
        default=600.0,
        description="how long messages are held while the journal fails, before they go back to the queue; "
        "below the broker's acknowledgement timeout (30m)",
    )
    publish_timeout: Seconds = Field(
        default=10.0, description="deadline of the broker's confirm of one batch of events"
    )

    @property
    def shown(self) -> str:
        """The address without its password, for logs and pages."""
        return without_password(self.url)


class IntakeSettings(Section):
    max_bytes: Count = Field(default=262144, description="a larger message is refused `too_large`")


class EventSettings(Section):
    retention: Seconds = Field(
        default=7 * DAY, description="how long published events are kept for `events republish`"
    )
    notify_after: Seconds = Field(
        default=60.0, description="a command that has not ended by then is said to be `delayed`"
    )


class JournalSettings(Section):
    url: Annotated[Secret, scheme("sqlite", "postgresql")] = Field(
        default=SecretStr("sqlite:///worker.db"),
        description="`sqlite:///file` (relative to the settings file) or `postgresql://…`",
    )
    keys: tuple[Secret, ...] = Field(
        default=(),
        description="encryption keys: the first encrypts, all decrypt; identity and audit keys come from "
        "the last, which therefore stays. None given: `worker.key` beside the settings file is used, or made",
    )
    retention: Seconds = Field(default=90 * DAY, description="how long commands that have ended are kept")
    dedup_window: Seconds = Field(
        default=400 * DAY,
        description="how long ids and keys are remembered; an older message is refused `too_old`",
    )
    max_waiting: Count = Field(
        default=1_000_000,
        description="commands that have not ended; above it intake pauses and RabbitMQ keeps the rest",
    )
    connections: Count = Field(default=10, description="connections to PostgreSQL of one process")

    @property
    def shown(self) -> str:
        """The address without its password, for logs and pages."""
        return without_password(self.url)


class QuarantineSettings(Section):
    max_rows: Count = Field(default=100_000, description="messages kept; above it the oldest go")
    max_bytes: Count = Field(
        default=1_073_741_824, description="bytes kept, all messages together; above it the oldest go"
    )
    retention: Seconds = Field(default=90 * DAY, description="how long a refused message is kept")
    per_source_hour: Count = Field(
        default=1000,
        description="messages kept of one source in an hour; more are refused without being kept",
    )


class ConsoleSettings(Section):
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="address that the console and `/healthz`, `/readyz`, `/metrics` live on",
    )
    port: int = Field(default=8080, ge=0, le=65535, description="its port; 0: any free one")
    address: str = Field(
        default="",
        max_length=300,
        pattern=r"^$|^https?://[^\s/?#]+$",
        description="what people type to reach the console, such as `https://console.example`, for its links and"
        " for cookies over TLS only; empty: where it listens",
    )
    local_sign_in: bool = Field(
        default=True,
        description="names and passwords kept here; `false`: only the provider of `[console.oidc]` lets people in, and"
        " the link of `worker console link`",
    )
    upload_max: int = Field(
        default=52_428_800,
        ge=0,
        le=268_435_456,
        description="bytes of a file of rows that the console takes; it is in memory while it is read, and in the journal"
        " until its batch has ended; `0`: it takes none, larger ones go by `worker onboard` and `worker batch run`",
    )
    oidc: OidcSettings = Field(default=OidcSettings(), description="sign-in by an OpenID Connect provider")

    @model_validator(mode="after")
    def _somebody_can_come_in(self) -> Self:
        if self.oidc.issuer and not self.address:
            raise ValueError("oidc.issuer needs address: the provider sends people back there")
        if not self.local_sign_in and not self.oidc.issuer:
            raise ValueError("local_sign_in = false needs oidc.issuer: nobody could sign in")
        return self


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe line written"
    )
    format: Literal["json", "console"] = Field(
        default="json", description="`json` lines, or `console` for eyes"
    )


class TracingSettings(Section):
    endpoint: Url | None = Field(
        default=None,
        description="an OpenTelemetry collector that takes OTLP over HTTP, e.g. `http://127.0.0.1:4318`; none: no spans",
    )
    authorization: Secret | None = Field(
        default=None, description="the header Authorization that the collector wants"
    )
    service: str = Field(
        default="provisioning-worker", min_length=1, description="`service.name` of the spans"
    )


class Settings(Section):
    """Everything that can be set. `folder` is where the file lies: relative names start there."""

    worker: WorkerSettings = WorkerSettings()
    broker: BrokerSettings = BrokerSettings()
    intake: IntakeSettings = IntakeSettings()
    events: EventSettings = EventSettings()
    journal: JournalSettings = JournalSettings()
    quarantine: QuarantineSettings = QuarantineSettings()
    console: ConsoleSettings = ConsoleSettings()
    logs: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    platforms: Mapping[PlatformName, AnyPlatform] = {}
    folder: Path = Field(default=Path(), exclude=True)

    @property
    def kinds(self) -> dict[str, str]:
        """Platform name -> kind."""
        return {name: platform.kind for name, platform in self.platforms.items()}

    @property
    def sqlite_path(self) -> Path | None:
        """The journal's file, None where it is PostgreSQL."""
        url = self.journal.url.get_secret_value()
        return self.folder / url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else None

    @model_validator(mode="after")
    def _grace_covers_every_call(self) -> Self:
        for name, platform in self.platforms.items():
            if platform.timeout > self.worker.grace:
                raise ValueError(
                    f"worker.grace ({duration(self.worker.grace)}) has to cover the timeout of "
                    f"platforms.{name} ({duration(platform.timeout)})"
                )
        return self
