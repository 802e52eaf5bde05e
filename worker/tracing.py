"""Spans to a collector (OTLP over HTTP), joined to the sender's trace. Without a collector nothing of this is loaded.

A span tells of a command what its result tells too: ids, type, platform, outcome. Nothing of its data.
"""

from __future__ import annotations

import threading
import time

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.telemetry import Part

SECOND = 1_000_000_000
FLUSH = 2.0  # seconds that a stop gives the last spans
QUEUE = 4096  # spans that wait for the collector; above it they are dropped, the worker never waits for it


class Tracer:
    """`endpoint`: the collector's address, e.g. http://127.0.0.1:4318. Raises nothing when it is away."""

    def __init__(self, endpoint: str, authorization: str | None, name: str, instance: str) -> None:
        headers = {"Authorization": authorization} if authorization else None
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", headers=headers, timeout=5)
        resource = Resource.create({"service.name": name, "service.instance.id": instance})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUE))
        self._tracer = self._provider.get_tracer("worker")
        self._sender = TraceContextTextMapPropagator()

    def tell(self, part: Part) -> None:
        """It has just ended."""
        ended = time.time_ns()
        kind = SpanKind.CONSUMER if part.kind == "consumer" else SpanKind.CLIENT
        began = ended - int(part.took * SECOND)
        span = self._tracer.start_span(
            part.name, self._parent(part), kind, attributes=dict(part.facts), start_time=began
        )
        if part.failed:
            span.set_status(Status(StatusCode.ERROR, part.failed))
        span.end(ended)

    def _parent(self, part: Part) -> Context:
        carrier = {"traceparent": part.traceparent or "", "tracestate": part.tracestate or ""}
        return self._sender.extract(carrier, Context())

    def close(self) -> None:
        """Blocks for the last spans, two seconds at most: a collector that hangs must not hold up a stop."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(FLUSH)
