"""Metrics, all in one place, and where spans go. Labels are bounded: platform, endpoint, outcome, ending; never a subscriber."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class Part:
    """What was done of a command, after the fact. `took`: seconds."""

    name: str
    kind: Literal["consumer", "client"]
    took: float
    traceparent: str | None
    tracestate: str | None
    facts: Mapping[str, str | int] = field(default_factory=dict)
    failed: str | None = None  # why


class Tells(Protocol):
    """Where spans go: `tracing.Tracer`, which is loaded only where there is a collector."""

    def tell(self, part: Part) -> None: ...


class Telemetry:
    def __init__(self, registry: CollectorRegistry | None = None, tracer: Tells | None = None) -> None:
        self.tracer = tracer  # None: no spans
        r = self.registry = registry or CollectorRegistry()
        self.calls = Counter(
            "worker_platform_calls_total",
            "Calls that went to a platform",
            ["platform", "endpoint", "outcome"],
            registry=r,
        )
        self.call_seconds = Histogram(
            "worker_platform_call_seconds", "Duration of one call", ["platform"], buckets=BUCKETS, registry=r
        )
        self.endings = Counter(
            "worker_commands_ended_total", "Commands that ended", ["platform", "ending"], registry=r
        )
        self.doubts = Counter(
            "worker_commands_in_doubt_total", "Answers that were lost", ["platform"], registry=r
        )
        self.late = Counter(
            "worker_sent_after_lease_total",
            "First bytes written after the lease had ended",
            ["platform"],
            registry=r,
        )
        self.running = Gauge(
            "worker_attempts_running", "Attempts under way in this process", ["platform"], registry=r
        )
        self.stopped = Gauge(
            "worker_platform_stopped", "1: held, paused or circuit open", ["platform", "why"], registry=r
        )
        self.open_windows = Gauge(
            "worker_settle_windows_open", "Keys held by a lost answer", ["platform"], registry=r
        )
