"""Spans reach a collector under the sender's trace; a collector that is away disturbs nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.amqp import eventually
from tests.support.storm import PLATFORM, Sippulse, Storm, order
from tests.support.worker import Workers

TRACE, SPAN = "0af7651916cd43dd" * 2, "b7ad6b7169203331"
SECRET = "collector-s3cret"


class Collector:
    """Takes OTLP over HTTP, as a real one does: protobuf, one POST a batch."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.authorizations: set[str | None] = set()
        taken = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                taken.authorizations.add(self.headers["Authorization"])
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Content-Encoding"] == "gzip":
                    raise AssertionError("not asked for")
                request = ExportTraceServiceRequest.FromString(body)
                taken.spans += [
                    s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans
                ]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.close()


async def test_the_sender_s_trace_shows_arrival_and_attempts(
    rabbit_url: str, platform: Sippulse, storm: Storm, tmp_path: Path, collector: Collector
) -> None:
    await platform.subscribers(["5511700001"], balance="1")
    sent = order("calls.block", "5511700001")
    sent["traceparent"] = f"00-{TRACE}-{SPAN}-01"
    tracing = {"endpoint": collector.url, "authorization": SECRET}
    async with Workers(
        tmp_path, rabbit_url, {PLATFORM: platform.url}, settings={"tracing": tracing}
    ) as workers:
        worker = await workers.start()
        await storm.send([sent])
        await storm.until_final(60)
        worker.terminate()  # the last spans go out with the stop
        assert await worker.ended() == 0
        assert SECRET not in worker.log()
    names = {span.name: span for span in collector.spans}
    assert set(names) == {"admit calls.block.v1", "attempt calls.block.v1"}
    for span in names.values():
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
        assert span.end_time_unix_nano > span.start_time_unix_nano > 0
    facts = {one.key: one.value for one in names["attempt calls.block.v1"].attributes}
    assert facts["provisioning.outcome"].string_value == "done"
    assert facts["provisioning.attempt"].int_value == 1
    assert collector.authorizations == {SECRET}


async def test_a_collector_that_is_away_delays_no_command(
    rabbit_url: str, platform: Sippulse, storm: Storm, tmp_path: Path
) -> None:
    await platform.subscribers(["5511700001"], balance="1")
    nowhere = {"endpoint": "http://127.0.0.1:9"}
    async with Workers(
        tmp_path, rabbit_url, {PLATFORM: platform.url}, settings={"tracing": nowhere}
    ) as workers:
        worker = await workers.start()
        await storm.send([order("calls.block", "5511700001")])
        await eventually(lambda: storm.ended() and True, 30, 0.05, "the result")
        worker.terminate()
        assert await worker.ended() == 0
