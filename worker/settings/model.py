"""Every setting with its default and its meaning: `docs/settings.md` is made from here."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from worker.settings.values import (
    DAY,
    Count,
    File,
    Money,
    PlatformName,
    Seconds,
    Secret,
    Url,
    duration,
    patterns,
    scheme,
    select,
    without_password,
)


class Section(BaseModel):
    """One table of the file. An unknown key is an error; a mistake never quotes what was written."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False, allow_inf_nan=False
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
        description="address that `/healthz`, `/readyz`, `/metrics` live on",
    )
    port: int = Field(default=8080, ge=0, le=65535, description="its port; 0: any free one")


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe line written"
    )
    format: Literal["json", "console"] = Field(
        default="json", description="`json` lines, or `console` for eyes"
    )


class LimitSettings(Section):
    credit_max: Money | None = Field(
        default=None, description="largest amount of one `credit.add`; above: `over_limit`"
    )
    credit_per_subscriber_day: Money | None = Field(
        default=None, description="credit of one subscriber in 24 hours; above: parked"
    )
    credit_per_hour: Money | None = Field(
        default=None, description="credit of the whole platform in an hour; above: parked"
    )
    removes_per_hour: Count | None = Field(
        default=None, description="`subscriber.remove` in an hour; above: parked"
    )
    negative_credit: bool = Field(
        default=False, description="whether native commands may book a negative credit"
    )


class CallRecordSettings(Section):
    url: Secret | None = Field(
        default=None,
        description="the platform's database, read only; none: any unexplained difference is parked",
    )
    lag: Seconds = Field(
        default=10.0, description="two readings so far apart have to agree before they count"
    )


class PlatformSettings(Section):
    kind: Literal["sippulse"] = Field(description="what it is")
    url: Url = Field(description="its address, e.g. `http://sippulse.example:8080/SipPulse`")
    login: str = Field(min_length=1, description="the platform's administrator")
    password: Secret = Field(description="the administrator's password")
    wsdl: Literal["bundled", "live"] = Field(
        default="bundled", description="the WSDLs that come along, or the server's own"
    )
    namespace: str = Field(
        default="", description="another target namespace than the WSDL's; empty: the WSDL's"
    )
    http_basic: bool = Field(default=False, description="send login and password as HTTP Basic as well")
    verify: bool = Field(default=True, description="check the server's certificate (https)")
    ca: File | None = Field(
        default=None, description="file with the authorities that sign the server's certificate"
    )
    environment: Literal["production", "staging"] = Field(
        default="production", description="what kind of installation it is; nothing depends on it yet"
    )
    concurrency: Count = Field(default=16, description="calls at once, all processes together")
    rate: float = Field(default=50.0, gt=0, description="calls a second, all processes together")
    timeout: Seconds = Field(default=10.0, gt=0, description="deadline of a whole call")
    keepalive: Seconds = Field(default=2.0, description="how long a connection may rest and be used again")
    control_read: str = Field(
        default="", description="another read than the default to tell whether the platform is well"
    )
    settle: Seconds = Field(
        default=120.0,
        gt=0,
        description="after a lost answer the platform has to keep answering for so long before a negative "
        "reading counts; longer than the platform's own longest transaction",
    )
    retry_for: Seconds = Field(default=DAY, description="how long a command is tried before it is parked")
    retry_first: Seconds = Field(default=2.0, gt=0, description="first wait before another try")
    retry_most: Seconds = Field(default=900.0, gt=0, description="longest wait before another try")
    lease_margin: Seconds = Field(default=15.0, gt=0, description="a claim lasts `timeout` and this")
    breaker_after: Count = Field(default=5, description="transport failures in a row that open the breaker")
    breaker_probe_first: Seconds = Field(
        default=1.0, gt=0, description="first wait before an open breaker is probed"
    )
    breaker_probe_most: Seconds = Field(default=30.0, gt=0, description="longest wait between two probes")
    hold_probe_first: Seconds = Field(
        default=5.0, gt=0, description="first wait before a held platform is read again"
    )
    hold_probe_most: Seconds = Field(
        default=300.0,
        gt=0,
        description="longest wait between two such reads, so that no account is locked out",
    )
    credit_step: Money = Field(default=Decimal("0.01"), description="finer amounts are refused")
    credit_evidence: Annotated[str, AfterValidator(select)] = Field(
        default="auto",
        description="`auto`; `strict`: after a lost answer a person decides, whatever the balance shows; or a SELECT over "
        "`call_records.url` that shows the credit entry",
    )
    reload_after: tuple[str, ...] = Field(
        default=(), description="commands after which the platform's modules are reloaded"
    )
    allow: tuple[str, ...] = Field(default=(), description="patterns of commands allowed beside the default")
    deny: tuple[str, ...] = Field(default=(), description="patterns of commands refused `not_allowed`")
    limits: LimitSettings = Field(default=LimitSettings(), description="what is above is not done")
    assume: Mapping[str, bool | int | float | str] = Field(
        default={}, description="what the platform leaves open, where the safe default is not right"
    )
    refusals: Annotated[Mapping[str, str], AfterValidator(patterns)] = Field(
        default={},
        description="text of a fault (a regular expression, any case) = an error code, `busy` or `ill`",
    )
    call_records: CallRecordSettings = Field(
        default=CallRecordSettings(), description="rated calls, to explain credit"
    )

    @property
    def lease(self) -> float:
        """How long a claim lasts, in seconds."""
        return self.timeout + self.lease_margin

    @model_validator(mode="after")
    def _evidence_has_a_database(self) -> Self:
        if self.credit_evidence not in ("auto", "strict") and self.call_records.url is None:
            raise ValueError("a SELECT as credit_evidence needs call_records.url")
        return self


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
    platforms: Mapping[PlatformName, PlatformSettings] = {}
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
